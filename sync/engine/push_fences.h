// SPDX-License-Identifier: GPL-3.0-or-later
// Directories that a push touches, so that a list which began before it ended is not taken for news of them:
// it may show them before, after, or in between.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
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
  // The name may have led elsewhere when the list was made.
  bool stale_name(NodeId directory, std::string_view name, Clock::time_point list_began) const;
  // Something was pushed anywhere: such a list is not of one moment.
  bool any_since(Clock::time_point list_began) const;

 private:
  using Name = std::pair<NodeId, std::string>;

  void touch(NodeId directory, const std::string& name);
  bool below_moved(NodeId directory, Clock::time_point list_began) const;

  const PendingChanges& pending_;
  mutable std::mutex mutex_;  // guards all below
  std::unordered_set<NodeId> touched_;
  std::unordered_set<NodeId> moved_;  // directories; everything below them is touched
  std::set<Name> names_;
  Clock::time_point last_end_{};
  // What was that of batches before, and when they ended.
  std::unordered_map<NodeId, Clock::time_point> ended_;
  std::unordered_map<NodeId, Clock::time_point> ended_moves_;
  std::map<Name, Clock::time_point> ended_names_;
};

}  // namespace rsyncfs
