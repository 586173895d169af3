// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/md4.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace rsyncfs {

namespace {

uint32_t load32(const std::byte* p) {
  uint32_t v = 0;
  for (int i = 0; i < 4; ++i) v |= std::to_integer<uint32_t>(p[i]) << (8 * i);
  return v;
}

uint32_t choose(uint32_t x, uint32_t y, uint32_t z) {
  return (x & y) | (~x & z);
}
uint32_t majority(uint32_t x, uint32_t y, uint32_t z) {
  return (x & y) | (x & z) | (y & z);
}
uint32_t parity(uint32_t x, uint32_t y, uint32_t z) {
  return x ^ y ^ z;
}

using Mix = uint32_t (*)(uint32_t, uint32_t, uint32_t);

template <Mix kMix>
void round16(std::array<uint32_t, 4>& s, const std::array<uint32_t, 16>& words,
             const std::array<uint8_t, 16>& order, const std::array<int, 4>& shifts, uint32_t constant) {
  for (unsigned i = 0; i < 16; ++i) {
    // The roles a, b, c, d rotate by one each step.
    uint32_t& a = s[(16 - i) % 4];
    const uint32_t mixed = kMix(s[(17 - i) % 4], s[(18 - i) % 4], s[(19 - i) % 4]);
    a = std::rotl(a + mixed + words[order[i]] + constant, shifts[i % 4]);
  }
}

}  // namespace

void Md4::compress(const std::byte* block) {
  std::array<uint32_t, 16> words{};
  for (size_t i = 0; i < 16; ++i) words[i] = load32(block + 4 * i);
  std::array<uint32_t, 4> s = state_;
  round16<choose>(s, words, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {3, 7, 11, 19}, 0);
  round16<majority>(s, words, {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}, {3, 5, 9, 13},
                    0x5a827999);
  round16<parity>(s, words, {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}, {3, 9, 11, 15},
                  0x6ed9eba1);
  for (size_t i = 0; i < 4; ++i) state_[i] += s[i];
}

void Md4::update(std::span<const std::byte> data) {
  size_t filled = length_ % 64;
  length_ += data.size();
  if (filled > 0) {
    const size_t n = std::min(data.size(), 64 - filled);
    std::copy_n(data.begin(), n, pending_.begin() + static_cast<std::ptrdiff_t>(filled));
    data = data.subspan(n);
    filled += n;
    if (filled < 64) return;
    compress(pending_.data());
  }
  while (data.size() >= 64) {
    compress(data.data());
    data = data.subspan(64);
  }
  std::copy(data.begin(), data.end(), pending_.begin());
}

std::array<std::byte, 16> Md4::finish() {
  const uint64_t bits = length_ * 8;
  std::array<std::byte, 72> tail{};
  tail[0] = std::byte{0x80};
  const size_t padding = (length_ % 64 < 56 ? 56 : 120) - length_ % 64;
  for (size_t i = 0; i < 8; ++i) tail[padding + i] = std::byte((bits >> (8 * i)) & 0xff);
  update(std::span(tail.data(), padding + 8));
  std::array<std::byte, 16> out{};
  for (size_t i = 0; i < 16; ++i) out[i] = std::byte((state_[i / 4] >> (8 * (i % 4))) & 0xff);
  return out;
}

}  // namespace rsyncfs
