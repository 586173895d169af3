// SPDX-License-Identifier: GPL-3.0-or-later
// Checksums of the blocks of a content: what the disk did to bytes is noticed by them
// (sync/replica/FORMAT.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

// A small content is one block.
constexpr uint64_t kSumBlockBytes = 64 << 10;
// Sums of larger contents would take megabytes, so they have longer blocks, and the largest have none.
constexpr uint64_t kLongSumsFromBytes = uint64_t{4} << 30;
constexpr uint64_t kLongSumBlockBytes = 1 << 20;
constexpr uint64_t kMaxSummedBytes = uint64_t{1} << 40;

// XXH3_64; never 0.
uint64_t content_sum(std::span<const std::byte> block);

// Of a content of one size; of each block it is known or not. One thread at a time.
class ContentSums {
 public:
  explicit ContentSums(uint64_t size = 0) : size_(size) {}
  // As serialize() writes it; anything else is nullopt.
  static std::optional<ContentSums> parse(uint64_t size, std::string_view bytes);
  std::string serialize() const;  // "": nothing is known

  uint64_t size() const { return size_; }
  uint64_t block_bytes() const;
  size_t blocks() const;  // 0: too large for sums
  size_t block_at(uint64_t offset) const { return static_cast<size_t>(offset / block_bytes()); }
  ExtentSet::Range range_of(size_t block) const;
  bool empty() const { return sums_.empty(); }
  bool knows(size_t block) const { return block < sums_.size() && sums_[block] != 0; }
  bool knows_all() const;
  bool matches(size_t block, std::span<const std::byte> bytes) const {
    return knows(block) && sums_[block] == content_sum(bytes);
  }
  bool operator==(const ContentSums&) const = default;

  // `sum`: XXH3_64, or content_sum().
  void set(size_t block, uint64_t sum);
  // Every block that has bytes of [begin, end).
  void forget(uint64_t begin, uint64_t end);
  // Every block that is not here as a whole.
  void keep_only(const ExtentSet& present);
  // A block that has other bytes in the content of that size is not known any more.
  void resize(uint64_t size);

 private:
  void trim();

  uint64_t size_;
  std::vector<uint64_t> sums_;  // up to the last one that is known; 0: unknown
};

// Of a content that is one block at most.
ContentSums sums_of_small(std::span<const std::byte> bytes);

}  // namespace rsyncfs
