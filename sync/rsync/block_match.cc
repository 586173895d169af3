// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/block_match.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace rsyncfs {

namespace {

constexpr size_t kReadAhead = 256 * 1024;
// Blocks with the same rolling sum are compared up to so many at one place: a file made of them must not take
// for ever.
constexpr int kMaxChain = 1024;
constexpr unsigned kFilterBitsPerBlock = 16;
constexpr unsigned kMaxFilterBits = 23;  // 1 MiB: more does not fit the processor's cache
constexpr unsigned kMinFilterBits = 10;
constexpr uint32_t kMinStrongLength = 2;

// The upper bits of the product depend on all bits of the sum.
uint32_t spread(uint32_t rolling) {
  return rolling * 0x9e3779b1u;
}

uint32_t signed_byte(std::byte b) {
  return static_cast<uint32_t>(static_cast<int32_t>(static_cast<int8_t>(b)));
}

}  // namespace

BlockMatcher::BlockMatcher(const BlockSums& sums, ChecksumKind kind, int32_t seed, uint64_t size, Read read)
    : sums_(sums), kind_(kind), seed_(seed), size_(size), read_(std::move(read)) {
  RSYNCFS_CHECK(sums.empty() || sums.block_length > 0);
  if (!sums.empty() && sums.strong_length >= kMinStrongLength) index_blocks();
}

void BlockMatcher::index_blocks() {
  const size_t count = sums_.blocks.size();
  head_bits_ = std::max(static_cast<unsigned>(std::bit_width(count)), 1u);
  filter_bits_ = std::clamp(static_cast<unsigned>(std::bit_width(count * kFilterBitsPerBlock)),
                            kMinFilterBits, kMaxFilterBits);
  heads_.assign(size_t{1} << head_bits_, 0);
  nexts_.assign(count, 0);
  filter_.assign((size_t{1} << filter_bits_) / 64, 0);
  // Backwards, so that each chain begins with its first block.
  for (size_t i = count; i-- > 0;) {
    const uint32_t hash = spread(sums_.blocks[i].rolling);
    nexts_[i] = std::exchange(heads_[hash >> (32 - head_bits_)], static_cast<uint32_t>(i + 1));
    const uint32_t bit = hash >> (32 - filter_bits_);
    filter_[bit / 64] |= uint64_t{1} << (bit % 64);
  }
}

uint32_t BlockMatcher::length_of(uint32_t block) const {
  return block + 1 == sums_.blocks.size() && sums_.remainder != 0 ? sums_.remainder : sums_.block_length;
}

size_t BlockMatcher::window_size() const {
  return static_cast<size_t>(std::min<uint64_t>(sums_.block_length, size_ - position_));
}

bool BlockMatcher::may_match(uint32_t rolling) const {
  const uint32_t bit = spread(rolling) >> (32 - filter_bits_);
  return (filter_[bit / 64] >> (bit % 64) & 1) != 0;
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
    if (heads_.empty()) {
      position_ += std::min<uint64_t>(size_ - position_, kMaxLiteral - (position_ - literal_start_));
      return {};
    }
    if (!rolled_) start_window();
    found_ = find_match();
    if (found_) return {};
    slide();
  }
  return {};
}

// Holds everything from literal_start_ on and, of what is at position_, a window and one byte, or a literal.
Result<void> BlockMatcher::fill() {
  if (position_ < refill_at_) return {};
  const uint64_t have = buffer_offset_ + buffer_.size();
  const size_t needed = std::max<size_t>(sums_.block_length, kMaxLiteral) + 1;
  const uint64_t end = std::min<uint64_t>(size_, position_ + needed + kReadAhead);
  buffer_.erase(buffer_.begin(),
                buffer_.begin() + static_cast<std::ptrdiff_t>(literal_start_ - buffer_offset_));
  buffer_offset_ = literal_start_;
  buffer_.resize(static_cast<size_t>(end - buffer_offset_));
  refill_at_ = end == size_ ? UINT64_MAX : end - needed;
  return read_(have, std::span(buffer_).subspan(static_cast<size_t>(have - buffer_offset_)));
}

void BlockMatcher::start_window() {
  const uint32_t sum = rolling_sum({at(position_), window_size()});
  s1_ = sum & 0xffff;
  s2_ = sum >> 16;
  rolled_ = true;
}

void BlockMatcher::slide() {
  const size_t window = window_size();
  const uint32_t leaving = signed_byte(*at(position_));
  s1_ -= leaving;
  s2_ -= static_cast<uint32_t>(window) * leaving;
  if (position_ + window < size_) {
    s1_ += signed_byte(*at(position_ + window));
    s2_ += s1_;
  }
  ++position_;
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
  if (!may_match(rolling)) return std::nullopt;
  const size_t window = window_size();
  std::optional<ChecksumValue> strong;
  const auto matches = [&](uint32_t block) {
    if (sums_.blocks[block].rolling != rolling || length_of(block) != window) return false;
    if (!strong) strong = block_sum(kind_, seed_, {at(position_), window});
    return same_strong(block, *strong);
  };
  if (const auto expected = expected_block(); expected && matches(*expected)) return expected;
  int left = kMaxChain;
  for (uint32_t i = heads_[spread(rolling) >> (32 - head_bits_)]; i != 0 && left > 0; i = nexts_[i - 1]) {
    if (sums_.blocks[i - 1].rolling != rolling) continue;
    if (matches(i - 1)) return i - 1;
    --left;
  }
  return std::nullopt;
}

}  // namespace rsyncfs
