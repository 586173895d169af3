// SPDX-License-Identifier: GPL-3.0-or-later
// Nodes the kernel gave back: those that no name leads to any more are deleted, in batches, off the FUSE
// threads.
#pragma once

#include <mutex>
#include <vector>

#include "fs/tree/lookup_table.h"
#include "io/executor.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

constexpr size_t kForgetBatch = 512;  // nodes per transaction

// add(): any thread. It holds at most what the lookup table held. The destructor waits until all is done.
class ForgetQueue {
 public:
  ForgetQueue(Replica& replica, const LookupTable& lookups, Executor& executor)
      : replica_(replica), lookups_(lookups), strand_(executor) {}
  void add(NodeId node);
  void drain() { strand_.drain(); }

 private:
  void run_batch();

  Replica& replica_;
  const LookupTable& lookups_;
  std::mutex mutex_;
  std::vector<NodeId> waiting_;
  bool scheduled_ = false;
  Strand strand_;  // last: ends before what its tasks use
};

}  // namespace rsyncfs
