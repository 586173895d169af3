// SPDX-License-Identifier: GPL-3.0-or-later
// Files whose bytes were handed out before anything of them was recorded. Such a node is one version for
// good, though the database says that nothing of it is here. In memory only: after a restart nobody has seen
// bytes.
#pragma once

#include <cstddef>
#include <mutex>
#include <unordered_set>

#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class SeenNodes {
 public:
  // Bytes of the node are about to be handed out. False: a transaction is giving it another version.
  bool note(NodeId node);
  // For the running transaction: may the node be given another version? If so, nobody sees its bytes until
  // transaction_over().
  bool may_change(NodeId node);
  void transaction_over();
  // A row speaks of its bytes from now on, or there is no such node any more.
  void forget(NodeId node);

 private:
  // With more than this, every node counts as seen: then files are replaced that could have been changed.
  static constexpr size_t kMaxSeen = 100'000;
  std::mutex mutex_;
  std::unordered_set<NodeId> seen_;      // guarded by mutex_
  std::unordered_set<NodeId> changing_;  // guarded by mutex_
  bool overflow_ = false;                // guarded by mutex_
};

}  // namespace rsyncfs
