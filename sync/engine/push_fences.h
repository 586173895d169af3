// SPDX-License-Identifier: GPL-3.0-or-later
// Directories that a push touches, so that a list which began before it ended is not taken for news of them:
// it may show them before, after, or in between.
#pragma once

#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "io/loop.h"
#include "sync/engine/push_plan.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// Any thread.
class PushFences {
 public:
  explicit PushFences(const PendingChanges& pending) : pending_(pending) {}

  // One batch at a time.
  void begin(const PushBatch& batch);
  void end();
  // A list that was begun at `list_began` tells nothing about the names in `directory`.
  bool stale(NodeId directory, Clock::time_point list_began) const;

 private:
  bool below_moved(NodeId directory) const;

  const PendingChanges& pending_;
  mutable std::mutex mutex_;  // guards all below
  std::unordered_set<NodeId> touched_;
  std::unordered_set<NodeId> moved_;  // directories; everything below them is touched
  std::unordered_map<NodeId, Clock::time_point> ended_;
};

}  // namespace rsyncfs
