// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/block_match.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sync/rsync/rolling_sum.h"

namespace rsyncfs {

namespace {

constexpr size_t kReadAhead = 256 * 1024;
constexpr uint32_t kMinStrongLength = 2;

}  // namespace

BlockMatcher::BlockMatcher(const BlockSums& sums, ChecksumKind kind, int32_t seed, uint64_t size, Read read)
    : sums_(sums), kind_(kind), seed_(seed), size_(size), read_(std::move(read)) {
  RSYNCFS_CHECK(sums.empty() || sums.block_length > 0);
  nothing_matches_ = sums.empty() || sums.strong_length < kMinStrongLength;
}

uint32_t BlockMatcher::length_of(uint32_t block) const {
  return block + 1 == sums_.blocks.size() && sums_.remainder != 0 ? sums_.remainder : sums_.block_length;
}

size_t BlockMatcher::window_size() const {
  return static_cast<size_t>(std::min<uint64_t>(sums_.block_length, size_ - position_));
}

Result<MatchedPiece> BlockMatcher::next() {
  if (!found_) {
    if (auto searched = search(); !searched.ok()) return searched.error();
  }
  MatchedPiece piece;
  if (literal_start_ < position_) {
    piece.what = MatchedPiece::What::kLiteral;
    piece.bytes = {at(literal_start_), std::min<size_t>(position_ - literal_start_, kMaxLiteral)};
    literal_start_ += piece.bytes.size();
  } else if (found_) {
    piece.what = MatchedPiece::What::kCopy;
    piece.block = *std::exchange(found_, std::nullopt);
    piece.bytes = {at(position_), length_of(piece.block)};
    position_ += piece.bytes.size();
    literal_start_ = position_;
    after_last_ = piece.block + 1;
    rolled_ = false;
  }
  return piece;
}

// Moves on to the next block, or until a literal is full, or to the end.
Result<void> BlockMatcher::search() {
  while (position_ < size_ && position_ - literal_start_ < kMaxLiteral) {
    if (auto filled = fill(); !filled.ok()) return filled;
    if (nothing_matches_) {
      position_ += std::min<uint64_t>(size_ - position_, kMaxLiteral - (position_ - literal_start_));
      return {};
    }
    if (!rolled_) start_window();
    found_ = find_match();
    if (found_) return {};
    move_on();
  }
  return {};
}

// Holds everything from literal_start_ on and, of what is at position_, a window and one byte, or a literal.
Result<void> BlockMatcher::fill() {
  if (position_ < refill_at_) return {};
  const size_t needed = std::max<size_t>(sums_.block_length, kMaxLiteral) + 1;
  const uint64_t end = std::min<uint64_t>(size_, position_ + needed + kReadAhead);
  const auto length = static_cast<size_t>(end - literal_start_);
  const auto kept = static_cast<size_t>(buffer_end_ - literal_start_);
  if (length > capacity_) {
    // As much as is ever held at once, but for files that are shorter.
    const size_t most = needed + kReadAhead + kMaxLiteral + sums_.block_length;
    capacity_ = static_cast<size_t>(std::min<uint64_t>(size_, most));
    RSYNCFS_CHECK(length <= capacity_);
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity_);
    if (kept > 0) std::memcpy(larger.get(), at(literal_start_), kept);
    buffer_ = std::move(larger);
  } else if (kept > 0) {
    std::memmove(buffer_.get(), at(literal_start_), kept);
  }
  buffer_offset_ = literal_start_;
  refill_at_ = end == size_ ? UINT64_MAX : end - needed;
  const uint64_t from = std::exchange(buffer_end_, end);
  return read_(from, {buffer_.get() + kept, length - kept});
}

void BlockMatcher::start_window() {
  const uint32_t sum = rolling_sum({at(position_), window_size()});
  s1_ = sum & 0xffff;
  s2_ = sum >> 16;
  rolled_ = true;
}

// Nothing matches at position_: on to the next place where something may.
void BlockMatcher::move_on() {
  const uint64_t last_full = size_ - std::min<uint64_t>(size_, sums_.block_length);
  if (position_ >= last_full) {
    // Only the short block at the old end is as short as what is left.
    const uint64_t last = size_ - std::min<uint64_t>(size_, sums_.remainder);
    position_ = position_ < last ? last : size_;
    rolled_ = false;
  } else {
    const uint64_t most = std::min({last_full - position_, refill_at_ - position_,
                                    uint64_t{kMaxLiteral} - (position_ - literal_start_)});
    RollingWindow rolled{at(position_), sums_.block_length, s1_, s2_};
    index_->roll(rolled, static_cast<size_t>(most));
    position_ += static_cast<size_t>(rolled.data - at(position_));
    s1_ = rolled.s1;
    s2_ = rolled.s2;
  }
}

// What follows the last block found, or what was at the same place in the old file.
std::optional<uint32_t> BlockMatcher::expected_block() const {
  if (position_ == literal_start_ && after_last_ > 0 && after_last_ < sums_.blocks.size()) return after_last_;
  if (position_ % sums_.block_length != 0) return std::nullopt;
  const uint64_t same_place = position_ / sums_.block_length;
  if (same_place >= sums_.blocks.size()) return std::nullopt;
  return static_cast<uint32_t>(same_place);
}

bool BlockMatcher::same_strong(uint32_t block, const ChecksumValue& strong) const {
  return std::memcmp(sums_.blocks[block].strong.bytes.data(), strong.bytes.data(), sums_.strong_length) == 0;
}

std::optional<uint32_t> BlockMatcher::find_match() {
  const uint32_t rolling = (s1_ & 0xffff) | s2_ << 16;
  const size_t window = window_size();
  std::optional<ChecksumValue> strong;
  const auto matches = [&](uint32_t block) {
    if (length_of(block) != window) return false;
    if (!strong) strong = block_sum(kind_, seed_, {at(position_), window});
    return same_strong(block, *strong);
  };
  const auto expected = expected_block();
  if (expected && sums_.blocks[*expected].rolling == rolling && matches(*expected)) return expected;
  // Not before: a file that is unchanged needs none.
  if (!index_) index_.emplace(sums_.blocks);
  const uint32_t found = index_->find(rolling, matches);
  return found == BlockIndex::kNone ? std::nullopt : std::optional(found);
}

}  // namespace rsyncfs
