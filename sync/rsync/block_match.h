// SPDX-License-Identifier: GPL-3.0-or-later
// Finds the blocks of a receiver's file in new contents, wherever they have moved to. Source: rsync's
// match.c; Tridgell, "Efficient Algorithms for Sorting and Synchronization", chapter 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "io/base/result.h"
#include "sync/rsync/block_index.h"
#include "sync/rsync/checksum.h"

namespace rsyncfs {

// One piece of the new contents, in order and without gaps.
struct MatchedPiece {
  enum class What : uint8_t { kLiteral, kCopy, kEnd };
  What what = What::kEnd;
  std::span<const std::byte> bytes;  // of either; valid until the next call
  uint32_t block = 0;                // kCopy: whose bytes they are
};

// Pulled piece by piece, so that whoever sends the pieces sets the pace. One owner; any thread, one at a
// time.
//
// What is unchanged costs as much as sums of it: the block that is expected is compared first, and the next
// one begins behind it. What was appended is compared at every block length only: it is not worth a look at
// each byte.
class BlockMatcher {
 public:
  // Fills the whole span with the new contents from `offset` on; never asked beyond `size`.
  using Read = std::function<Result<void>(uint64_t offset, std::span<std::byte>)>;

  // `sums` as a receiver with that checksum and seed sent them; without strong sums nothing matches. They
  // must outlive the matcher.
  BlockMatcher(const BlockSums& sums, ChecksumKind kind, int32_t seed, uint64_t size, Read read);

  // Literals have at most kMaxLiteral bytes. After kEnd, or an error of `read`, no more calls.
  Result<MatchedPiece> next();

  static constexpr size_t kMaxLiteral = 32 * 1024;

 private:
  uint32_t length_of(uint32_t block) const;
  Result<void> fill();
  Result<void> search();
  std::optional<uint32_t> find_match();
  std::optional<uint32_t> expected_block() const;
  bool same_strong(uint32_t block, const ChecksumValue& strong) const;
  void start_window();
  void move_on();
  size_t window_size() const;
  const std::byte* at(uint64_t offset) const { return buffer_.get() + (offset - buffer_offset_); }

  const BlockSums& sums_;
  const ChecksumKind kind_;
  const int32_t seed_;
  const uint64_t size_;
  Read read_;
  bool nothing_matches_ = false;
  std::optional<BlockIndex> index_;  // from the first place on where not the expected block is

  std::unique_ptr<std::byte[]> buffer_;
  size_t capacity_ = 0;
  uint64_t buffer_offset_ = 0;
  uint64_t buffer_end_ = 0;
  uint64_t refill_at_ = 0;
  uint64_t literal_start_ = 0;  // what is before it was given
  uint64_t position_ = 0;       // where a block is looked for
  bool rolled_ = false;         // s1_, s2_ are of the window at position_
  uint32_t s1_ = 0;
  uint32_t s2_ = 0;
  std::optional<uint32_t> found_;  // starts at position_, not given yet
  uint32_t after_last_ = 0;        // the block behind the last one given
};

}  // namespace rsyncfs
