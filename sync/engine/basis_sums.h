// SPDX-License-Identifier: GPL-3.0-or-later
// The block sums of what is here of an older version of a file, which may have gaps.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sync/replica/content.h"
#include "sync/rsync/checksum.h"

namespace rsyncfs {

// The length of blocks that costs least: each costs the bytes of its sums, and of its token unless tokens
// come as runs, and what differs in one place costs a block. Of a file that got longer by much, `size` is
// probably its beginning: then few blocks, and an end that is short, because it does not count.
uint32_t cheapest_block_length(uint64_t size, uint64_t new_size, bool token_runs);
// Bytes of the strong sums that are sent. So many that hardly one in a hundred files that have nothing in
// common with the older version comes out wrong, which the digest of the whole finds; rsync's own choice is
// an eighth of that, for a byte more in many sizes.
uint32_t cheapest_strong_length(uint64_t size, uint32_t block_length, ChecksumKind kind);

// One thread at a time.
class BasisSums {
 public:
  // `with_end`: the short block at the end counts too; it is of use only where the new version ends with it.
  BasisSums(std::shared_ptr<const Content> basis, ChecksumKind kind, int32_t seed, uint32_t block_length,
            bool with_end);

  // Sums of about so many bytes more. False: all are there.
  bool compute(uint64_t bytes);
  const BlockSums& sums() const { return sums_; }
  // Where the block lies that a session takes to begin at `offset`: it knows nothing of gaps.
  uint64_t place_of(uint64_t offset) const;
  const std::shared_ptr<const Content>& basis() const { return basis_; }

 private:
  std::shared_ptr<const Content> basis_;
  const ChecksumKind kind_;
  const int32_t seed_;
  BlockSums sums_;
  std::vector<uint32_t> numbers_;  // of the blocks, where there are gaps
  uint32_t count_ = 0;             // of blocks without gaps
};

}  // namespace rsyncfs
