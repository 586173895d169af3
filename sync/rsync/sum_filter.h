// SPDX-License-Identifier: GPL-3.0-or-later
// Says of nearly every rolling sum that is of no block that it is of none, from a few bits for each block:
// the sender looks up a sum at each byte, and this fits the processor's cache. Source: Putze, Sanders,
// Singler, "Cache-, Hash- and Space-Efficient Bloom Filters".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rsyncfs {

// A window of `length` bytes at `data`, and the two halves of its rolling sum, of which the upper 16 bits are
// not used.
struct RollingWindow {
  const std::byte* data = nullptr;
  uint32_t length = 0;
  uint32_t s1 = 0;
  uint32_t s2 = 0;
  uint32_t sum() const { return (s1 & 0xffff) | s2 << 16; }
};

class SumFilter {
 public:
  explicit SumFilter(size_t blocks);
  void add(uint32_t rolling);
  // False: it was never added.
  bool may_have(uint32_t rolling) const;
  // Moves the window on until it may be a block, at least by one byte and at most by `most`, which is not 0:
  // so many bytes must be readable behind it.
  void roll(RollingWindow& window, size_t most) const;

 private:
  unsigned word_bits_;  // log2 of their number
  std::vector<uint32_t> words_;
};

// The loop of SumFilter::roll(), for tests and benchmarks, as sync/rsync/rolling_sum.h has its sums.
struct RollVariant {
  const char* name;
  void (*roll)(const uint32_t* words, unsigned word_bits, RollingWindow& window, size_t most);
};
std::span<const RollVariant* const> roll_variants();
bool roll_agrees(const RollVariant& variant, const RollVariant& twin);
std::string_view roll_variant_name();

}  // namespace rsyncfs
