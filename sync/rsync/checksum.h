// SPDX-License-Identifier: GPL-3.0-or-later
// rsync's checksums: the strong block sums and the whole-file digests; the rolling sum is in
// sync/rsync/rolling_sum.h. Source: checksum.c, match.c.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

enum class ChecksumKind : uint8_t { kNone, kMd4, kMd5, kSha1, kXxh64, kXxh3, kXxh128 };
std::string_view checksum_name(ChecksumKind kind);                // rsync's name: "xxh128", "md5", ...
Result<ChecksumKind> parse_checksum_name(std::string_view name);  // kUsage for others
size_t checksum_size(ChecksumKind kind);                          // bytes on the wire; kNone has 1

constexpr size_t kMaxChecksumBytes = 20;
struct ChecksumValue {
  std::array<std::byte, kMaxChecksumBytes> bytes{};
  uint8_t size = 0;
  bool operator==(const ChecksumValue& other) const;
  std::span<const std::byte> span() const { return {bytes.data(), size}; }
  std::string hex() const;
};

// Whole-file digest, unseeded, fed in order. One owner.
class Digest {
 public:
  explicit Digest(ChecksumKind kind);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  void update(std::span<const std::byte> data);
  ChecksumValue finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The strong sum of one block, seeded as protocol >= 30 with the 'C' capability does.
ChecksumValue block_sum(ChecksumKind kind, int32_t seed, std::span<const std::byte> block);

struct BlockSum {
  uint32_t rolling = 0;
  ChecksumValue strong;  // truncated to strong_length on the wire
};

// What a receiver tells a sender about its old copy. Only the last block may be short.
struct BlockSums {
  uint32_t block_length = 0;   // 1..kMaxBlockLength when there are blocks
  uint32_t strong_length = 0;  // bytes of each strong sum on the wire, 2..checksum_size
  uint32_t remainder = 0;      // length of the last block, 0 = full
  std::vector<BlockSum> blocks;
  bool empty() const { return blocks.empty(); }
};
constexpr uint32_t kMaxBlockLength = 131072;  // MAX_BLOCK_SIZE, protocol >= 30

// rsync's own choice for a basis of `size` bytes (generator.c sum_sizes_sqroot).
uint32_t default_block_length(uint64_t size);
uint32_t default_strong_length(uint64_t size, uint32_t block_length, ChecksumKind kind);
// Sums of a basis held in memory or a map. `block_length` 0: default_block_length().
BlockSums make_block_sums(std::span<const std::byte> basis, ChecksumKind kind, int32_t seed,
                          uint32_t block_length = 0);

}  // namespace rsyncfs
