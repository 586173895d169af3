// SPDX-License-Identifier: GPL-3.0-or-later
// Orphans that the kernel has forgotten, but that the source still has: their rows stay until their removal
// is acknowledged. In memory only: at the next start nobody holds an orphan.
#pragma once

#include <cstddef>
#include <unordered_set>

#include "sync/replica/types.h"

namespace rsyncfs {

// With the writer only.
class RetainedNodes {
 public:
  void retain(NodeId node) {
    if (nodes_.size() < kMaxRetained) nodes_.insert(node);
  }
  // The kernel may hold it again.
  void forget(NodeId node) { nodes_.erase(node); }
  bool has(NodeId node) const { return nodes_.count(node) != 0; }

 private:
  // What is beyond is deleted at the next start.
  static constexpr size_t kMaxRetained = 100'000;
  std::unordered_set<NodeId> nodes_;
};

}  // namespace rsyncfs
