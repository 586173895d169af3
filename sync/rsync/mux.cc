// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/mux.h"

#include <algorithm>

namespace rsyncfs {

namespace {
constexpr uint32_t kTagBase = 7;
}

bool mux_tag_known(uint8_t tag) {
  switch (static_cast<MuxTag>(tag)) {
    case MuxTag::kData:
    case MuxTag::kErrorXfer:
    case MuxTag::kInfo:
    case MuxTag::kError:
    case MuxTag::kWarning:
    case MuxTag::kErrorSocket:
    case MuxTag::kLog:
    case MuxTag::kClient:
    case MuxTag::kErrorUtf8:
    case MuxTag::kRedo:
    case MuxTag::kStats:
    case MuxTag::kIoError:
    case MuxTag::kIoTimeout:
    case MuxTag::kNoop:
    case MuxTag::kErrorExit:
    case MuxTag::kSuccess:
    case MuxTag::kDeleted:
    case MuxTag::kNoSend:
      return true;
  }
  return false;
}

Result<void> MuxReader::begin_frame(MuxHandler& handler) {
  header_size_ = 0;
  const auto byte = [&](size_t i) { return std::to_integer<uint32_t>(header_[i]); };
  const uint32_t tag_byte = byte(3);
  remaining_ = byte(0) | byte(1) << 8 | byte(2) << 16;
  if (tag_byte < kTagBase || !mux_tag_known(static_cast<uint8_t>(tag_byte - kTagBase))) {
    return Error(Errc::kProtocol, "unknown message tag " + std::to_string(tag_byte) + " from the server");
  }
  tag_ = static_cast<MuxTag>(tag_byte - kTagBase);
  if (tag_ == MuxTag::kData) {
    if (remaining_ > max_frame_bytes_) return Error(Errc::kLimit, "the server sent an over-long data frame");
    return {};
  }
  if (remaining_ > max_message_bytes_) return Error(Errc::kLimit, "the server sent an over-long message");
  message_.clear();
  if (remaining_ == 0) return handler.on_mux_message(tag_, {});
  return {};
}

Result<void> MuxReader::feed(std::span<const std::byte> data, MuxHandler& handler) {
  while (!data.empty()) {
    if (remaining_ == 0) {
      header_[header_size_++] = data.front();
      data = data.subspan(1);
      if (header_size_ < header_.size()) continue;
      if (auto begun = begin_frame(handler); !begun.ok()) return begun;
      continue;
    }
    const auto piece = data.first(std::min(data.size(), remaining_));
    data = data.subspan(piece.size());
    remaining_ -= piece.size();
    if (tag_ == MuxTag::kData) {
      if (auto taken = handler.on_mux_data(piece); !taken.ok()) return taken;
      continue;
    }
    message_.insert(message_.end(), piece.begin(), piece.end());
    if (remaining_ > 0) continue;
    if (auto taken = handler.on_mux_message(tag_, message_); !taken.ok()) return taken;
  }
  return {};
}

void mux_write_head(ByteQueue& out, MuxTag tag, size_t size) {
  RSYNCFS_CHECK(size <= kMaxMuxFrame);
  out.append_le32((kTagBase + static_cast<uint32_t>(tag)) << 24 | static_cast<uint32_t>(size));
}

void mux_write_message(ByteQueue& out, MuxTag tag, std::span<const std::byte> payload) {
  mux_write_head(out, tag, payload.size());
  out.append(payload);
}

void mux_write_data(ByteQueue& out, std::span<const std::byte> data) {
  // Small enough for every receiver's buffer; larger frames were accepted, but nobody's clients send them.
  constexpr size_t kFrame = 32 * 1024;
  while (!data.empty()) {
    const auto piece = data.first(std::min(data.size(), kFrame));
    mux_write_message(out, MuxTag::kData, piece);
    data = data.subspan(piece.size());
  }
}

}  // namespace rsyncfs
