// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/basis_sums.h"

#include <algorithm>
#include <bit>

#include "sync/rsync/rolling_sum.h"

namespace rsyncfs {

namespace {

// Of one block: its rolling sum and two or three bytes of the strong one; where tokens are single, its token.
constexpr uint64_t kSumBytes = 6;
constexpr uint64_t kTokenBytes = 4;
constexpr uint32_t kLeastBlockLength = 704;
constexpr uint32_t kLengthStep = 64;
constexpr uint64_t kMuchLonger = 4 * kMaxBlockLength;
constexpr uint32_t kSafeBits = 7;
constexpr uint32_t kRollingBits = 32;
constexpr uint32_t kLeastStrongLength = 2;

uint64_t square_root(uint64_t of) {
  uint64_t root = 0;
  for (uint64_t bit = uint64_t{1} << 31; bit != 0; bit >>= 1) {
    if ((root | bit) * (root | bit) <= of) root |= bit;
  }
  return root;
}

}  // namespace

uint32_t cheapest_block_length(uint64_t size, uint64_t new_size, bool token_runs) {
  const uint64_t each = token_runs ? kSumBytes : kSumBytes + kTokenBytes;
  const uint64_t root = square_root(std::min(size, uint64_t{1} << 40) * each) / kLengthStep * kLengthStep;
  const auto cheapest = static_cast<uint32_t>(std::clamp<uint64_t>(root, kLeastBlockLength, kMaxBlockLength));
  if (new_size <= size || new_size - size < kMuchLonger) return cheapest;
  uint32_t best = cheapest;
  uint64_t least = UINT64_MAX;
  for (uint32_t length = kMaxBlockLength; length >= cheapest; length -= kLengthStep) {
    const uint64_t cost = size / length * each + size % length;
    if (cost >= least) continue;
    least = cost;
    best = length;
  }
  return best;
}

uint32_t cheapest_strong_length(uint64_t size, uint32_t block_length, ChecksumKind kind) {
  // So many places are compared with so many blocks.
  const uint64_t places = std::min(size, uint64_t{1} << 40);
  const auto bits = static_cast<uint32_t>(std::bit_width(places * (places / block_length >> 4)) + 4);
  const uint32_t bytes = (std::max(bits + kSafeBits, kRollingBits) - kRollingBits + 7) / 8;
  return std::clamp<uint32_t>(bytes, kLeastStrongLength, static_cast<uint32_t>(checksum_size(kind)));
}

BasisSums::BasisSums(std::shared_ptr<const Content> basis, ChecksumKind kind, int32_t seed,
                     uint32_t block_length, bool with_end)
    : basis_(std::move(basis)), kind_(kind), seed_(seed) {
  const uint64_t size = basis_->size();
  sums_.block_length = block_length;
  sums_.strong_length = cheapest_strong_length(size, block_length, kind);
  const auto end_length = static_cast<uint32_t>(with_end ? size % block_length : 0);
  if (basis_->complete()) {
    count_ = static_cast<uint32_t>(size / block_length);
    if (end_length != 0) ++count_;
    sums_.remainder = end_length;
    sums_.blocks.reserve(count_);
    return;
  }
  for (const ExtentSet::Range& range : basis_->extents().ranges()) {
    uint64_t number = (range.begin + block_length - 1) / block_length;
    for (; (number + 1) * block_length <= range.end; ++number)
      numbers_.push_back(static_cast<uint32_t>(number));
    if (range.end != size || end_length == 0 || number * block_length < range.begin) continue;
    numbers_.push_back(static_cast<uint32_t>(number));
    sums_.remainder = end_length;
  }
  count_ = static_cast<uint32_t>(numbers_.size());
  sums_.blocks.reserve(count_);
}

uint64_t BasisSums::place_of(uint64_t offset) const {
  if (numbers_.empty()) return offset;
  return uint64_t{numbers_[offset / sums_.block_length]} * sums_.block_length;
}

bool BasisSums::compute(uint64_t bytes) {
  for (uint64_t taken = 0; taken < bytes && sums_.blocks.size() < count_;) {
    const uint64_t offset = place_of(sums_.blocks.size() * uint64_t{sums_.block_length});
    const bool last = sums_.blocks.size() + 1 == count_;
    const uint32_t length = last && sums_.remainder != 0 ? sums_.remainder : sums_.block_length;
    const auto block = basis_->unchecked_view(offset, length);
    RSYNCFS_CHECK(block && block->size() == length);
    sums_.blocks.push_back({rolling_sum(*block), block_sum(kind_, seed_, *block)});
    taken += length;
  }
  return sums_.blocks.size() < count_;
}

}  // namespace rsyncfs
