// SPDX-License-Identifier: GPL-3.0-or-later
// Which files have local changes of their bytes, and the objects of those that are in use. All who ask for a
// file at the same time get the same object.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "sync/replica/dirty_file.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class DirtyRegistry {
 public:
  explicit DirtyRegistry(DirtyStore& store) : store_(store) {}

  void set_layers(NodeId node, bool has_layers);
  bool has_layers(NodeId node) const;
  // Made when there is none yet.
  std::shared_ptr<DirtyFile> file(NodeId node);
  // Null unless the node has layers.
  std::shared_ptr<DirtyFile> dirty_file(NodeId node);
  // All layers of the node are gone.
  void dropped(NodeId node);
  std::vector<NodeId> nodes() const;

 private:
  // More objects than this are only kept while somebody holds them.
  static constexpr size_t kMaxIdle = 1024;
  struct Entry {
    bool has_layers = false;
    std::shared_ptr<DirtyFile> file;  // null: not in use
  };
  std::shared_ptr<DirtyFile> object(NodeId node, Entry& entry);
  void tidy();

  DirtyStore& store_;
  mutable std::mutex mutex_;
  std::unordered_map<NodeId, Entry> entries_;  // guarded by mutex_
  size_t objects_ = 0;                         // guarded by mutex_
  size_t tidy_at_ = kMaxIdle;                  // guarded by mutex_
};

}  // namespace rsyncfs
