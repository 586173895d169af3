// SPDX-License-Identifier: GPL-3.0-or-later
// The choice of block and sum lengths, and the sums of a basis in memory.
#include <algorithm>
#include <bit>

#include "sync/rsync/checksum.h"
#include "sync/rsync/rolling_sum.h"

namespace rsyncfs {

namespace {
constexpr uint32_t kMinBlockLength = 700;
constexpr uint32_t kMinStrongLength = 2;
constexpr uint32_t kMaxStrongLength = 16;
constexpr int kBlockSumBias = 10;
}  // namespace

uint32_t default_block_length(uint64_t size) {
  if (size <= uint64_t{kMinBlockLength} * kMinBlockLength) return kMinBlockLength;
  if (size >= uint64_t{kMaxBlockLength} * kMaxBlockLength) return kMaxBlockLength;
  // The square root, rounded down to a multiple of 8.
  uint64_t root = 0;
  for (uint64_t bit = kMaxBlockLength / 2; bit >= 8; bit >>= 1) {
    if ((root | bit) * (root | bit) <= size) root |= bit;
  }
  return std::max(static_cast<uint32_t>(root), kMinBlockLength);
}

uint32_t default_strong_length(uint64_t size, uint32_t block_length, ChecksumKind kind) {
  // Two bits per doubling of the size, less what the block length and the 32-bit rolling sum already decide.
  int bits = kBlockSumBias;
  if (size > 0) bits += 2 * (std::bit_width(size) - 1);
  bits -= std::min(bits, block_length > 0 ? static_cast<int>(std::bit_width(block_length)) - 1 : 0);
  const int bytes = (bits + 1 - 32 + 7) / 8;
  const auto max_length = std::min(kMaxStrongLength, static_cast<uint32_t>(checksum_size(kind)));
  return std::min(std::max(static_cast<uint32_t>(std::max(bytes, 0)), kMinStrongLength), max_length);
}

BlockSums make_block_sums(std::span<const std::byte> basis, ChecksumKind kind, int32_t seed,
                          uint32_t block_length) {
  BlockSums sums;
  if (basis.empty() || kind == ChecksumKind::kNone) return sums;
  sums.block_length = block_length == 0 ? default_block_length(basis.size()) : block_length;
  RSYNCFS_CHECK(sums.block_length <= kMaxBlockLength);
  sums.strong_length = default_strong_length(basis.size(), sums.block_length, kind);
  sums.remainder = static_cast<uint32_t>(basis.size() % sums.block_length);
  sums.blocks.reserve(basis.size() / sums.block_length + 1);
  while (!basis.empty()) {
    const auto block = basis.first(std::min<size_t>(basis.size(), sums.block_length));
    sums.blocks.push_back({rolling_sum(block), block_sum(kind, seed, block)});
    basis = basis.subspan(block.size());
  }
  return sums;
}

}  // namespace rsyncfs
