// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/wire.h"

#include <array>
#include <bit>
#include <cstring>

#include "io/base/result.h"

namespace rsyncfs {

namespace {

// How many bytes follow a varint's first byte: its leading ones, at most 6 (as rsync's int_byte_extra table).
unsigned extra_bytes(uint8_t first) {
  const auto ones = static_cast<unsigned>(std::countl_one(first));
  return ones > 6 ? 6 : ones;
}

uint64_t load_le(const std::byte* p, size_t count) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; ++i) value |= std::to_integer<uint64_t>(p[i]) << (8 * i);
  return value;
}

// `value` as varint or varlong: the top byte's free bits share the first byte with the length marker.
void write_variable(ByteQueue& out, uint64_t value, unsigned min_bytes, unsigned max_bytes) {
  std::array<std::byte, 9> buffer{};
  for (unsigned i = 0; i < max_bytes; ++i) buffer[i + 1] = std::byte((value >> (8 * i)) & 0xff);
  unsigned count = max_bytes;
  while (count > min_bytes && buffer[count] == std::byte{0}) --count;
  const unsigned bit = 1u << (7 - count + min_bytes);
  const auto top = std::to_integer<unsigned>(buffer[count]);
  if (top >= bit) {
    ++count;
    buffer[0] = std::byte(static_cast<uint8_t>(~(bit - 1)));
  } else if (count > min_bytes) {
    buffer[0] = std::byte(static_cast<uint8_t>(top | ~(bit * 2 - 1)));
  } else {
    buffer[0] = buffer[count];
  }
  out.append(std::span(buffer.data(), count));
}

}  // namespace

const std::byte* WireReader::take(size_t count) {
  if (!ok()) return nullptr;
  if (data_.size() - position_ < count) {
    need_ = position_ + count;
    return nullptr;
  }
  const std::byte* p = data_.data() + position_;
  position_ += count;
  return p;
}

void WireReader::fail(const char* what) {
  if (ok()) bad_ = what;
}

uint8_t WireReader::u8() {
  const std::byte* p = take(1);
  return p == nullptr ? uint8_t{0} : std::to_integer<uint8_t>(*p);
}

uint16_t WireReader::le16() {
  const std::byte* p = take(2);
  return p == nullptr ? uint16_t{0} : static_cast<uint16_t>(load_le(p, 2));
}

uint32_t WireReader::le32() {
  const std::byte* p = take(4);
  return p == nullptr ? 0 : static_cast<uint32_t>(load_le(p, 4));
}

int32_t WireReader::varint() {
  const uint8_t first = u8();
  const unsigned extra = extra_bytes(first);
  if (extra == 0) return first;
  if (extra > 4) {
    fail("a varint of more than 32 bits");
    return 0;
  }
  const std::byte* p = take(extra);
  if (p == nullptr) return 0;
  uint64_t value = load_le(p, extra);
  value |= uint64_t{static_cast<uint8_t>(first & ((1u << (8 - extra)) - 1))} << (8 * extra);
  if (value > 0xffffffff) {
    fail("a varint of more than 32 bits");
    return 0;
  }
  return static_cast<int32_t>(static_cast<uint32_t>(value));
}

uint32_t WireReader::varint_bounded(uint32_t max, const char* what) {
  const int32_t value = varint();
  if (value < 0 || static_cast<uint32_t>(value) > max) {
    fail(what);
    return 0;
  }
  return static_cast<uint32_t>(value);
}

int64_t WireReader::varlong(unsigned min_bytes) {
  const std::byte* p = take(min_bytes);
  if (p == nullptr) return 0;
  const auto first = std::to_integer<uint8_t>(*p);
  const unsigned extra = extra_bytes(first);
  uint64_t value = load_le(p + 1, min_bytes - 1);
  if (extra == 0) return static_cast<int64_t>(value | uint64_t{first} << (8 * (min_bytes - 1)));
  if (min_bytes + extra > 9) {
    fail("a varlong of more than 64 bits");
    return 0;
  }
  const std::byte* q = take(extra);
  if (q == nullptr) return 0;
  value |= load_le(q, extra) << (8 * (min_bytes - 1));
  const uint64_t top = first & ((1u << (8 - extra)) - 1);
  const unsigned shift = 8 * (min_bytes + extra - 1);
  if (shift < 64) value |= top << shift;
  return static_cast<int64_t>(value);
}

std::span<const std::byte> WireReader::bytes(size_t count) {
  const std::byte* p = take(count);
  return p == nullptr ? std::span<const std::byte>() : std::span(p, count);
}

std::string_view WireReader::text(size_t count) {
  const auto raw = bytes(count);
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

std::string_view WireReader::vstring() {
  size_t length = u8();
  if ((length & 0x80) != 0) length = (length & 0x7f) << 8 | u8();
  return ok() ? text(length) : std::string_view();
}

void write_varint(ByteQueue& out, int32_t value) {
  write_variable(out, static_cast<uint32_t>(value), 1, 4);
}

void write_varlong(ByteQueue& out, int64_t value, unsigned min_bytes) {
  write_variable(out, static_cast<uint64_t>(value), min_bytes, 8);
}

void write_vstring(ByteQueue& out, std::string_view text) {
  RSYNCFS_CHECK(text.size() <= kMaxVstring);
  if (text.size() > 0x7f) out.append_u8(static_cast<uint8_t>(text.size() >> 8 | 0x80));
  out.append_u8(static_cast<uint8_t>(text.size() & 0xff));
  out.append(text);
}

void NdxCoder::write(ByteQueue& out, int32_t ndx) {
  if (ndx == kNdxDone) {
    out.append_u8(0);
    return;
  }
  int32_t& previous = ndx >= 0 ? previous_positive_ : previous_negative_;
  const int32_t value = ndx >= 0 ? ndx : -ndx;
  if (ndx < 0) out.append_u8(0xff);
  const int64_t difference = int64_t{value} - previous;
  previous = value;
  if (difference > 0 && difference < 0xfe) {
    out.append_u8(static_cast<uint8_t>(difference));
  } else if (difference < 0 || difference > 0x7fff) {
    const auto bits = static_cast<uint32_t>(value);
    out.append_u8(0xfe);
    out.append_u8(static_cast<uint8_t>(bits >> 24 | 0x80));
    out.append_u8(static_cast<uint8_t>(bits));
    out.append_u8(static_cast<uint8_t>(bits >> 8));
    out.append_u8(static_cast<uint8_t>(bits >> 16));
  } else {
    out.append_u8(0xfe);
    out.append_u8(static_cast<uint8_t>(difference >> 8));
    out.append_u8(static_cast<uint8_t>(difference));
  }
}

int32_t NdxCoder::read(WireReader& in) {
  uint8_t first = in.u8();
  if (!in.ok()) return 0;
  if (first == 0) return kNdxDone;
  const bool negative = first == 0xff;
  if (negative) first = in.u8();
  int32_t& previous = negative ? previous_negative_ : previous_positive_;
  uint64_t value = 0;
  if (first == 0xfe) {
    const uint8_t high = in.u8();
    if ((high & 0x80) != 0) {
      const uint32_t b0 = in.u8();
      const uint32_t b1 = in.u8();
      const uint32_t b2 = in.u8();
      value = uint64_t{high & 0x7fu} << 24 | b2 << 16 | b1 << 8 | b0;
    } else {
      value = static_cast<uint64_t>(int64_t{previous} + (uint32_t{high} << 8 | in.u8()));
    }
  } else {
    value = static_cast<uint64_t>(int64_t{previous} + first);
  }
  if (!in.ok()) return 0;
  if (value > 0x7fffffff) {
    in.fail("a file index beyond 2^31");
    return 0;
  }
  previous = static_cast<int32_t>(value);
  return negative ? -previous : previous;
}

}  // namespace rsyncfs
