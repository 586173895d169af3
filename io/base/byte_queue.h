// SPDX-License-Identifier: GPL-3.0-or-later
// A first-in first-out queue of bytes: what a decoder still has to read, or a connection still has to send.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rsyncfs {

// Contiguous; consumed bytes are reclaimed lazily. Spans are valid until the next append().
class ByteQueue {
 public:
  size_t size() const { return bytes_.size() - head_; }
  bool empty() const { return size() == 0; }
  std::span<const std::byte> readable() const { return {bytes_.data() + head_, size()}; }
  void append(std::span<const std::byte> data);
  void append(std::string_view text) { append(std::as_bytes(std::span(text.data(), text.size()))); }
  void append_u8(uint8_t value);
  void append_le16(uint16_t value);
  void append_le32(uint32_t value);
  // n <= size().
  void consume(size_t n);
  void clear();

 private:
  std::vector<std::byte> bytes_;
  size_t head_ = 0;
};

}  // namespace rsyncfs
