// SPDX-License-Identifier: GPL-3.0-or-later
// The disk space that slabs and block files take, as the file system counts it: with what is allocated ahead,
// and dead bytes that could not be given back.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sync/replica/state_directory.h"

namespace rsyncfs {

// Any thread. What changes a file says so afterwards; only such files are looked at again.
class DiskUsage {
 public:
  // `directory` must live as long as bytes() is called.
  explicit DiskUsage(const StateDirectory& directory) : directory_(directory) {}

  // It was written, or punched.
  void slab_changed(uint64_t id) { changed(id << 1U | 1U); }
  void block_file_changed(uint64_t id) { changed(id << 1U); }
  // It is not there any more, and never again.
  void block_file_removed(uint64_t id);

  // The first call looks at every file there is.
  uint64_t bytes();

 private:
  // A slab's number, or that of a block file, times two, and one more for slabs.
  using File = uint64_t;
  void changed(File file);
  void look_at_all();
  void look_at(File file);
  void forget(File file);

  const StateDirectory& directory_;
  std::mutex look_mutex_;  // before mutex_; guards the three below
  bool looked_at_all_ = false;
  uint64_t bytes_ = 0;
  std::unordered_map<File, uint64_t> known_;
  std::mutex mutex_;
  std::unordered_set<File> changed_;  // guarded by mutex_
  std::vector<File> removed_;         // guarded by mutex_; what looks at them comes later
};

}  // namespace rsyncfs
