// SPDX-License-Identifier: GPL-3.0-or-later
// Which files were changed here lately. What others add to one of those is not added to the file that is open
// here, but makes a version of its own: who has read the file and is about to write it back would write over
// it otherwise, and nobody would see a conflict.
#pragma once

#include <chrono>
#include <cstddef>
#include <shared_mutex>
#include <unordered_map>

#include "io/loop.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class LocalWork {
 public:
  static constexpr size_t kMost = 1 << 16;  // beyond that everything counts
  static constexpr std::chrono::minutes kLately{60};

  // Cheap for a node that is known; of what was replaced here too: versions of a file share its inode number,
  // which is the number of the first.
  void note(NodeId node, Clock::time_point now);
  bool has(const Node& node, Clock::time_point now) const;

 private:
  static constexpr std::chrono::minutes kNotedAgain{10};
  bool knows(NodeId node, Clock::time_point since) const;

  mutable std::shared_mutex mutex_;  // guards both
  std::unordered_map<NodeId, Clock::time_point> changed_;
  Clock::time_point everything_until_{};
};

}  // namespace rsyncfs
