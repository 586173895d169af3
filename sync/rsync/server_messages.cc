// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/server_messages.h"

#include "sync/rsync/server_text.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

namespace {

constexpr uint32_t kMaxIoTimeoutS = 86400;  // a server's wish beyond a day is ignored, as rsync does

std::string_view as_text(std::span<const std::byte> bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (text.ends_with('\n') || text.ends_with('\0')) text.remove_suffix(1);
  return text;
}

}  // namespace

Result<uint32_t> ServerMessages::number(std::span<const std::byte> payload) {
  if (payload.size() != 4) return Error(Errc::kProtocol, "a message of the wrong size");
  return WireReader(payload).le32();
}

Result<bool> ServerMessages::take(MuxTag tag, std::span<const std::byte> payload) {
  const std::string_view text = as_text(payload);
  switch (tag) {
    case MuxTag::kError:
    case MuxTag::kErrorSocket:
    case MuxTag::kErrorXfer:
    case MuxTag::kErrorUtf8:
      return take_error(text, tag == MuxTag::kError || tag == MuxTag::kErrorSocket);
    case MuxTag::kWarning:
      words_.warning(text);
      on_text_(MessageKind::kWarning, text);
      return true;
    case MuxTag::kInfo:
    case MuxTag::kLog:
    case MuxTag::kClient:
      on_text_(MessageKind::kInfo, text);
      return true;
    case MuxTag::kData:
    case MuxTag::kNoop:
      return true;
    case MuxTag::kIoTimeout: {
      const auto seconds = number(payload);
      if (!seconds.ok()) return seconds.error();
      if (*seconds > 0 && *seconds <= kMaxIoTimeoutS) io_timeout_s_ = static_cast<int>(*seconds);
      return true;
    }
    case MuxTag::kErrorExit: {
      const auto code = payload.empty() ? Result<uint32_t>(0) : number(payload);
      if (!code.ok()) return code.error();
      // The server waits for us to close; there is nothing more to hear.
      exit_code_ = static_cast<int>(*code);
      return words_.exited(*exit_code_);
    }
    default:
      return false;
  }
}

Result<bool> ServerMessages::take_error(std::string_view text, bool about_itself) {
  // Said of what is to be removed from a directory that is not in the list; it is removed all the same.
  constexpr std::string_view kNoParentListed = "WARNING: parent dir is absent in the file list: ";
  if (text.starts_with(kNoParentListed)) {
    on_text_(MessageKind::kWarning, text);
    return true;
  }
  words_.error(text, about_itself);
  on_text_(MessageKind::kError, text);
  const auto code = exit_in_words_ ? exit_summary_code(text) : std::nullopt;
  if (!code) return true;
  exit_code_ = *code;
  return words_.exited(*code);
}

}  // namespace rsyncfs
