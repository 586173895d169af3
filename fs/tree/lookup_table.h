// SPDX-License-Identifier: GPL-3.0-or-later
// How many lookups of each node the kernel holds: 18 to 37 bytes a node, because every inode the kernel
// caches is here.
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
  LookupTable();
  void add(NodeId node, uint64_t count = 1);
  // True when this was the last of them. Taking more than there are counts as taking all.
  bool remove(NodeId node, uint64_t count);
  uint64_t count(NodeId node) const;
  // A flag on a known node; gone with its last lookup.
  void mark(NodeId node);
  bool is_marked(NodeId node) const;
  size_t size() const;  // nodes known, the root among them

 private:
  static constexpr size_t kShards = 16;
  struct Slot {
    NodeId node = 0;     // 0: free
    uint64_t state = 0;  // count * 2 + mark
  };
  struct Shard {
    mutable std::mutex mutex;
    std::vector<Slot> slots;  // open addressing, linear probing; a power of two, or none
    size_t used = 0;

    const Slot* find(NodeId node) const;
    Slot* find(NodeId node);
    Slot& insert(NodeId node);
    void erase(Slot* slot);
    void resize(size_t size);
  };
  static uint64_t hash(NodeId node);
  Shard& shard(NodeId node) { return shards_[hash(node) >> 60]; }
  const Shard& shard(NodeId node) const { return shards_[hash(node) >> 60]; }

  std::array<Shard, kShards> shards_;
};

}  // namespace rsyncfs
