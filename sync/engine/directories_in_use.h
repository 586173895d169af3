// SPDX-License-Identifier: GPL-3.0-or-later
// Which directories somebody looks into: those that the kernel asks about, and those that processes are in or
// watch.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "io/loop.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class DirectoriesInUse {
 public:
  static constexpr size_t kMost = 8'192;
  static constexpr std::chrono::seconds kLongestHold{10};  // what is used again within that need not be told
  static constexpr std::chrono::seconds kLinger =
      std::chrono::seconds(30) + kLongestHold;  // a directory that was used stays in use so long
  static constexpr std::chrono::milliseconds kRest{900};

  // Cheap where it was used a moment ago. True: it was not used for kRest.
  bool touch(NodeId directory, Clock::time_point now);
  // The last used first; what has not been used for kLinger is forgotten.
  std::vector<NodeId> in_use(Clock::time_point now, size_t most);
  size_t size() const;

 private:
  mutable std::shared_mutex mutex_;  // guards the map, not what it leads to
  std::unordered_map<NodeId, std::unique_ptr<std::atomic<int64_t>>> used_at_ms_;
};

}  // namespace rsyncfs
