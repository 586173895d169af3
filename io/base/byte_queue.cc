// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/byte_queue.h"

#include "io/base/result.h"

namespace rsyncfs {

namespace {
// An emptied queue keeps at most this much memory, so that one large burst does not stay for ever.
constexpr size_t kKeepBytes = 256 * 1024;
}  // namespace

void ByteQueue::append(std::span<const std::byte> data) {
  if (head_ > 0 && (head_ == bytes_.size() || head_ >= bytes_.size() / 2)) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  bytes_.insert(bytes_.end(), data.begin(), data.end());
}

void ByteQueue::append_u8(uint8_t value) {
  const std::byte b{value};
  append(std::span(&b, 1));
}

void ByteQueue::append_le16(uint16_t value) {
  const std::byte b[2] = {std::byte(value & 0xff), std::byte(value >> 8)};
  append(b);
}

void ByteQueue::append_le32(uint32_t value) {
  const std::byte b[4] = {std::byte(value & 0xff), std::byte((value >> 8) & 0xff),
                          std::byte((value >> 16) & 0xff), std::byte(value >> 24)};
  append(b);
}

void ByteQueue::consume(size_t n) {
  RSYNCFS_CHECK(n <= size());
  head_ += n;
  if (head_ == bytes_.size()) clear();
}

void ByteQueue::clear() {
  head_ = 0;
  if (bytes_.capacity() > kKeepBytes) {
    bytes_ = {};
  } else {
    bytes_.clear();
  }
}

}  // namespace rsyncfs
