// SPDX-License-Identifier: GPL-3.0-or-later
// The blocks of a receiver's file by their rolling sums. Source: rsync's match.c, build_hash_table().
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sync/rsync/checksum.h"
#include "sync/rsync/sum_filter.h"

namespace rsyncfs {

class BlockIndex {
 public:
  explicit BlockIndex(const std::vector<BlockSum>& blocks);

  // Moves the window on to the next place where its sum is that of a block, at least by one byte and at most
  // by `most`, which is not 0: so many bytes must be readable behind it.
  void roll(RollingWindow& window, size_t most) const;

  // The first block, in their order, with that rolling sum for which `matches(block)`; kNone: none. Looks at
  // kMaxChain at most: who sends the sums can make all of them equal, and each place of the new file would
  // then be compared with all blocks.
  template <typename Matches>
  uint32_t find(uint32_t rolling, const Matches& matches) const {
    if (!filter_.may_have(rolling)) return kNone;
    uint32_t next = heads_[slot_of(rolling)];
    for (int looked = 0; next != kNone && looked < kMaxChain; ++looked) {
      const Link& link = links_[next];
      if (link.rolling == rolling && matches(next)) return next;
      next = link.next;
    }
    return kNone;
  }

  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr int kMaxChain = 1024;  // rsync's MAX_CHAIN_LEN

 private:
  struct Link {
    uint32_t rolling;
    uint32_t next;
  };
  size_t slot_of(uint32_t rolling) const {
    return static_cast<size_t>(rolling * uint64_t{0xd6e8feb86659fd93} >> slot_shift_);
  }

  SumFilter filter_;
  unsigned slot_shift_;
  std::vector<uint32_t> heads_;  // the first block of each chain
  std::vector<Link> links_;      // of each block
};

}  // namespace rsyncfs
