// SPDX-License-Identifier: GPL-3.0-or-later
// rsync's multiplexing: frames of a tag and up to 2^24-1 bytes. DATA frames form one byte stream; the others
// are messages. Source: rsync's io.c.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/result.h"

namespace rsyncfs {

enum class MuxTag : uint8_t {
  kData = 0,
  kErrorXfer = 1,
  kInfo = 2,
  kError = 3,
  kWarning = 4,
  kErrorSocket = 5,
  kLog = 6,
  kClient = 7,
  kErrorUtf8 = 8,
  kRedo = 9,
  kStats = 10,
  kIoError = 22,
  kIoTimeout = 33,
  kNoop = 42,
  kErrorExit = 86,
  kSuccess = 100,
  kDeleted = 101,
  kNoSend = 102,
};

constexpr size_t kMaxMuxFrame = 0xffffff;

// Whether that tag exists in protocols 30 to 32.
bool mux_tag_known(uint8_t tag);

// Receives what a MuxReader finds. An error returned ends the reading.
class MuxHandler {
 public:
  virtual ~MuxHandler() = default;
  virtual Result<void> on_mux_data(std::span<const std::byte> data) = 0;
  virtual Result<void> on_mux_message(MuxTag tag, std::span<const std::byte> payload) = 0;
};

// DATA payload is passed on as it comes, messages when they are whole.
class MuxReader {
 public:
  // Messages longer than `max_message_bytes` are Errc::kLimit, data frames longer than `max_frame_bytes` too.
  MuxReader(size_t max_message_bytes, size_t max_frame_bytes)
      : max_message_bytes_(max_message_bytes), max_frame_bytes_(max_frame_bytes) {}
  Result<void> feed(std::span<const std::byte> data, MuxHandler& handler);

 private:
  Result<void> begin_frame(MuxHandler& handler);

  size_t max_message_bytes_;
  size_t max_frame_bytes_;
  std::array<std::byte, 4> header_{};
  size_t header_size_ = 0;
  MuxTag tag_ = MuxTag::kData;
  size_t remaining_ = 0;  // of the frame's payload
  std::vector<std::byte> message_;
};

// What a frame of `size` bytes begins with.
void mux_write_head(ByteQueue& out, MuxTag tag, size_t size);
// Writes `data` as DATA frames.
void mux_write_data(ByteQueue& out, std::span<const std::byte> data);
void mux_write_message(ByteQueue& out, MuxTag tag, std::span<const std::byte> payload);

}  // namespace rsyncfs
