// SPDX-License-Identifier: GPL-3.0-or-later
// How many lookups of each node the kernel holds: 16 bytes a node, so that 200k known inodes cost 6 MiB at
// most.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread; one small lock per shard. The root is always known.
class LookupTable {
 public:
  void add(NodeId node, uint64_t count = 1);
  // True when this was the last of them. Taking more than there are is the kernel's error: it counts as all.
  bool remove(NodeId node, uint64_t count);
  uint64_t count(NodeId node) const;
  // A flag on a known node; gone with its last lookup.
  void mark(NodeId node);
  bool is_marked(NodeId node) const;
  size_t size() const;  // nodes known, the root not among them

 private:
  static constexpr size_t kShards = 16;
  struct Slot {
    NodeId node = 0;     // 0: free
    uint64_t state = 0;  // count * 2 + mark
  };
  struct Shard {
    mutable std::mutex mutex;
    std::vector<Slot> slots;  // open addressing, linear probing; size a power of two
    size_t used = 0;
    size_t find(NodeId node) const;  // its index, or slots.size()
    size_t insert(NodeId node);      // its index, made if need be
    void erase(size_t index);
    void resize(size_t slots_wanted);
  };
  static uint64_t hash(NodeId node);
  Shard& shard(NodeId node) { return shards_[hash(node) >> 60]; }
  const Shard& shard(NodeId node) const { return shards_[hash(node) >> 60]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace rsyncfs
