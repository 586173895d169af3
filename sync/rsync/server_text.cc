// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/server_text.h"

#include <cerrno>
#include <charconv>
#include <string>

#include "io/base/text.h"

namespace rsyncfs {

namespace {

constexpr size_t kMaxShown = 1000;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  return text;
}

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

struct Phrase {
  std::string_view part;
  Errc code;
};
constexpr Phrase kPhrases[] = {
    {"auth failed on module", Errc::kAuth},
    {"Unknown module", Errc::kNotFound},
    {"max connections", Errc::kRefused},
    {"access denied to", Errc::kRefused},
    {"chdir failed", Errc::kRefused},
    {"chroot failed", Errc::kRefused},
    {"configured to refuse", Errc::kUnsupported},
    {"unknown option", Errc::kUnsupported},
    {"are not supported on this", Errc::kUnsupported},
    {"is not supported on this", Errc::kUnsupported},
    {"requires protocol", Errc::kUnsupported},
    {"does not support one of our daemon-auth checksums", Errc::kUnsupported},
    {"Failed to negotiate", Errc::kUnsupported},
    {"io timeout", Errc::kTimedOut},
    {"out of memory", Errc::kLimit},
    {"module is write only", Errc::kPermission},
    {"module is read only", Errc::kPermission},
};

}  // namespace

std::string shown_text(std::string_view text) {
  return escape_control(trim(text).substr(0, kMaxShown));
}

int trailing_errno(std::string_view text) {
  text = trim(text);
  if (!text.ends_with(')')) return 0;
  text.remove_suffix(1);
  const size_t open = text.rfind('(');
  if (open == std::string_view::npos) return 0;
  text.remove_prefix(open + 1);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  constexpr int kMaxErrno = 4095;
  if (error != std::errc() || end != text.data() + text.size() || number < 0 || number > kMaxErrno) return 0;
  return number;
}

bool is_exit_summary(std::string_view text) {
  return text.starts_with("rsync error: ") || text.starts_with("rsync warning: ");
}

std::optional<int> exit_summary_code(std::string_view text) {
  constexpr std::string_view kMark = " (code ";
  const size_t mark = text.find(kMark);
  if (!text.starts_with("rsync error: ") || mark == std::string_view::npos) return std::nullopt;
  text.remove_prefix(mark + kMark.size());
  int code = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  constexpr int kMaxCode = 255;
  if (error != std::errc() || code <= 0 || code > kMaxCode) return std::nullopt;
  return code;
}

Error session_error(std::string_view text, Errc otherwise) {
  constexpr std::string_view kMarker = "@ERROR: ";
  if (text.starts_with(kMarker)) text.remove_prefix(kMarker.size());
  const int err = trailing_errno(text);
  // A message about a path quotes it, and a path may spell anything.
  const bool about_path = err != 0 && has(text, " failed: ");
  for (const Phrase& phrase : kPhrases) {
    if (!about_path && has(text, phrase.part)) return Error(phrase.code, shown_text(text));
  }
  const Errc code = err == ENOENT                    ? Errc::kNotFound
                    : err == ENOTDIR                 ? Errc::kNotDirectory
                    : err == EACCES || err == EPERM  ? Errc::kPermission
                    : err != 0 && !has(text, "code") ? Errc::kOs
                                                     : otherwise;
  return Error(code, shown_text(text)).with_errno(err);
}

Error file_error(std::string_view text) {
  if (trim(text).empty()) return Error(Errc::kOs, "the source declined to send the file");
  if (has(text, "file has vanished")) return Error(Errc::kVanished, shown_text(text)).with_errno(ENOENT);
  if (has(text, "skipped diminished file")) return Error(Errc::kChanged, shown_text(text));
  const int err = trailing_errno(text);
  const Errc code = err == ENOENT || err == ENOTDIR ? Errc::kVanished
                    : err == EACCES || err == EPERM ? Errc::kPermission
                    : err == ELOOP || err == EISDIR ? Errc::kChanged
                                                    : Errc::kOs;
  return Error(code, shown_text(text)).with_errno(err);
}

Errc exit_code_kind(int code) {
  switch (code) {
    case 1:  // syntax or usage
    case 4:
      return Errc::kUnsupported;  // requested action not supported
    case 2:
      return Errc::kProtocol;
    case 3:
      return Errc::kNotFound;  // errors selecting input files
    case 5:
      return Errc::kRefused;  // starting the client-server protocol
    case 22:
      return Errc::kLimit;  // memory
    case 30:
    case 35:
      return Errc::kTimedOut;
    default:
      return Errc::kDisconnected;
  }
}

bool is_connection_exit(int code) {
  // errcode.h: RERR_SOCKETIO, RERR_STREAMIO, RERR_SIGNAL1, RERR_SIGNAL, RERR_TIMEOUT
  return code == 10 || code == 12 || code == 19 || code == 20 || code == 30;
}

}  // namespace rsyncfs
