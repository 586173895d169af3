// SPDX-License-Identifier: GPL-3.0-or-later
// The inodes of this mount that some process watches with inotify(7), as far as they can be found out.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <mutex>
#include <unordered_set>
#include <utility>

namespace rsyncfs {

// Any thread.
class WatchedNodes {
 public:
  void replace(std::unordered_set<ino_t> inodes) {
    const std::lock_guard lock(mutex_);
    any_.store(!inodes.empty());
    inodes_ = std::move(inodes);
  }
  bool any() const { return any_.load(std::memory_order_relaxed); }
  bool has(ino_t inode) const {
    if (!any()) return false;
    const std::lock_guard lock(mutex_);
    return inodes_.contains(inode);
  }

 private:
  std::atomic<bool> any_{false};
  mutable std::mutex mutex_;  // guards inodes_
  std::unordered_set<ino_t> inodes_;
};

}  // namespace rsyncfs
