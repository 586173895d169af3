// SPDX-License-Identifier: GPL-3.0-or-later
// Recognises that directories are being read through, and names the files that are likely to be read next.
#pragma once

#include <vector>

#include "sync/engine/file_target.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread only.
class Neighbours {
 public:
  explicit Neighbours(const EngineContext& context) : context_(context) {}

  // A file was not here. True when its directory seems to be read through: two misses in it, or the first one
  // after another directory was.
  bool note_miss(const FileTarget& target, Clock::time_point now);

  // The small files after `after` in its directory that are not here yet, in the order in which directories
  // are read. One search at a time.
  void find(const FileTarget& after, UniqueFunction<void(std::vector<FileTarget>)> found);
  bool looking() const { return looking_; }

 private:
  EngineContext context_;
  NodeId last_parent_ = 0;
  unsigned misses_in_row_ = 0;
  unsigned scanned_directories_ = 0;
  Clock::time_point last_miss_{};
  bool looking_ = false;
};

}  // namespace rsyncfs
