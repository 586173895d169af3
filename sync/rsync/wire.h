// SPDX-License-Identifier: GPL-3.0-or-later
// The integers and strings of the rsync stream. A reader gives a whole item or nothing: on a short input it
// says how many bytes the item needs at least, and nothing was taken. Source: rsync's io.c.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "io/base/byte_queue.h"

namespace rsyncfs {

// Reads one item from the front of `data`. Reads past the end, and values that no sender may write, make the
// reader fail; from then on every read returns zero or empty, so an item is parsed straight through and
// checked once.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> data) : data_(data) {}

  uint8_t u8();
  uint16_t le16();
  uint32_t le32();
  int32_t le32_signed() { return static_cast<int32_t>(le32()); }
  int32_t varint();
  uint32_t varint_unsigned() { return static_cast<uint32_t>(varint()); }
  // A varint that must lie in [0, max]; `what` is for the error text and must be a literal.
  uint32_t varint_bounded(uint32_t max, const char* what);
  int64_t varlong(unsigned min_bytes);
  std::span<const std::byte> bytes(size_t count);
  std::string_view text(size_t count);
  // One or two bytes of length (at most 32767), then the text.
  std::string_view vstring();
  void fail(const char* what);

  bool ok() const { return need_ == 0 && bad_ == nullptr; }
  bool is_short() const { return need_ != 0 && bad_ == nullptr; }
  bool is_bad() const { return bad_ != nullptr; }
  const char* bad() const { return bad_; }
  size_t need() const { return need_; }          // is_short(): bytes from the item's start, at least
  size_t position() const { return position_; }  // bytes taken

 private:
  const std::byte* take(size_t count);

  std::span<const std::byte> data_;
  size_t position_ = 0;
  size_t need_ = 0;
  const char* bad_ = nullptr;
};

void write_varint(ByteQueue& out, int32_t value);
void write_varlong(ByteQueue& out, int64_t value, unsigned min_bytes);
// At most kMaxVstring bytes.
void write_vstring(ByteQueue& out, std::string_view text);
constexpr size_t kMaxVstring = 0x7fff;

constexpr int32_t kNdxDone = -1;
constexpr int32_t kNdxFlistEof = -2;
constexpr int32_t kNdxDelStats = -3;

// Indices are coded as differences; each direction of a connection has one such state for its whole life.
class NdxCoder {
 public:
  void write(ByteQueue& out, int32_t ndx);
  // The state moves even if the rest of the item turns out short: decode with a copy, keep the copy when
  // whole.
  int32_t read(WireReader& in);

 private:
  int32_t previous_positive_ = -1;
  int32_t previous_negative_ = 1;
};

}  // namespace rsyncfs
