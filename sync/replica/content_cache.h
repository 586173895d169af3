// SPDX-License-Identifier: GPL-3.0-or-later
// The contents that were used last, mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sync/replica/content.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class ContentCache {
 public:
  // Holds at least one. `limit_bytes`: of all contents in it, and so of the address space that their maps
  // take.
  ContentCache(size_t limit, uint64_t limit_bytes)
      : limit_(limit < 1 ? 1 : limit), limit_bytes_(limit_bytes) {}

  std::shared_ptr<const Content> find(NodeId node);
  // Rises with every drop(): what was read from the database before it may be stale.
  uint64_t generation() const;
  // False, and nothing is kept, when something was dropped since `generation`.
  bool insert(NodeId node, const std::shared_ptr<const Content>& content, uint64_t generation);
  void drop(const std::vector<NodeId>& nodes);

 private:
  using Entry = std::pair<NodeId, std::shared_ptr<const Content>>;
  void evict(std::vector<std::shared_ptr<const Content>>& out);

  const size_t limit_;
  const uint64_t limit_bytes_;
  mutable std::mutex mutex_;
  uint64_t generation_ = 0;                                       // guarded by mutex_
  uint64_t bytes_ = 0;                                            // guarded by mutex_
  std::list<Entry> order_;                                        // guarded by mutex_; last used first
  std::unordered_map<NodeId, std::list<Entry>::iterator> by_id_;  // guarded by mutex_
};

}  // namespace rsyncfs
