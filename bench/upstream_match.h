// SPDX-License-Identifier: GPL-3.0-or-later
// rsync's own search for blocks, to compare BlockMatcher with: its hash tables and its loop, written anew.
// Source: match.c of rsync 3.4, build_hash_table() and hash_search(); fileio.c, map_ptr().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sync/rsync/checksum.h"

namespace rsyncfs::bench {

class UpstreamMatch {
 public:
  // `sums` must outlive it.
  UpstreamMatch(const BlockSums& sums, ChecksumKind kind, int32_t seed);

  struct Counts {
    uint64_t matches = 0;
    uint64_t hash_hits = 0;
    uint64_t false_alarms = 0;
  };
  // `through_calls`: each byte is asked for by a call that is not inlined, as rsync does; else it is taken
  // from memory at once, which is faster than rsync can be.
  Counts search(std::span<const std::byte> data, bool through_calls) const;

 private:
  template <bool kTraditional, typename Map>
  Counts search_with(std::span<const std::byte> data, Map map) const;

  const BlockSums& sums_;
  const ChecksumKind kind_;
  const int32_t seed_;
  std::vector<int32_t> table_;
  std::vector<int32_t> chains_;
};

}  // namespace rsyncfs::bench
