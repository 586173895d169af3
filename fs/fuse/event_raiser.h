// SPDX-License-Identifier: GPL-3.0-or-later
// Tells those who watch with inotify(7) what the source has changed. The kernel raises events for what is
// done through the mount only, so the same is done once more through it, by the Notifier's thread; requests
// of that thread change nothing (fs/fuse/operations_echo.cc).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "fs/fuse/kernel_caches.h"
#include "fs/fuse/renamings.h"
#include "fs/fuse/watched_nodes.h"
#include "fs/tree/tree.h"

namespace rsyncfs {

class EventRaiser {
 public:
  // A name that is being removed, and that the kernel may have to look up for that.
  static constexpr NodeId kGhost = ~NodeId{0} - 1;

  // The references must outlive it. `device`: of the mount, "0:45".
  EventRaiser(std::string mountpoint, std::string_view device, Tree& tree, const WatchedNodes& watched);

  bool anybody() const { return watched_.any(); }
  // Any thread, cheap where nobody watches: somebody is to be told of this change.
  bool concerns(const NameChange& change) const;
  // Or somebody may be in the directory that was renamed: the kernel moves them along.
  bool concerns(const Renaming& renaming) const;
  // A directory's attributes change with each name in it: that is not told.
  // By one thread that holds no lock. A name that went: before the kernel forgets it; all others afterwards.
  // What cannot be done - without permission, or where something else is mounted - is not told.
  void raise(const NameChange& change);
  // The same, before the kernel is told that either name is stale. False: it has to be told as two changes.
  bool raise(const Renaming& renaming, KernelCaches& kernel);

  // For the requests that follow from that.
  bool is_own(pid_t thread) const { return thread == thread_.load(std::memory_order_relaxed); }
  // The name is about to be made: it is not there yet.
  bool is_being_made(NodeId parent, std::string_view name) const;
  // The name is about to go, and this is what it led to; node 0: no such name.
  Entry being_removed(NodeId parent, std::string_view name) const;

 private:
  struct Place {
    NodeId parent = 0;  // 0: none
    std::string name;
    bool is(NodeId directory, std::string_view of) const { return parent == directory && name == of; }
  };
  struct Current {
    Place made;
    Place removed;
    Entry was;  // removed
  };
  void begin(Current current);
  bool rename(int from, int to, const Renaming& renaming, KernelCaches& kernel);
  int open_directory(NodeId directory) const;
  void make(int directory, const Node& node, const std::string& name) const;
  Entry entry_of_removed(NodeId node) const;

  const std::string mountpoint_;
  const dev_t device_;
  Tree& tree_;
  const WatchedNodes& watched_;
  std::atomic<pid_t> thread_{0};
  mutable std::mutex mutex_;  // guards current_
  Current current_;
};

}  // namespace rsyncfs
