// SPDX-License-Identifier: GPL-3.0-or-later
// Reads that wait for bytes, and the size that their askers know. When a kernel learns of another size it
// cuts its pages there, after those that are being read have come: if these are of a version that is younger
// still, their end is lost. (Linux: fuse_change_attributes, truncate_pagecache.) It also waits for them. So a
// file is shown as it was asked for until the first of them is answered.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread. As many entries as files that reads wait for.
class ReadsUnderWay {
 public:
  // The file as it is when the read arrives; the first of several counts.
  void begin(NodeId file, const FileVersion& version);
  // Before it is answered. The version that the file was shown with until now, when this ends it; `given`:
  // bytes are answered, so what is true now must be known.
  std::optional<FileVersion> end(NodeId file, bool given);
  // How the file is to be shown.
  std::optional<FileVersion> shown(NodeId file) const;

 private:
  struct File {
    size_t reads = 0;
    FileVersion version;
    bool shown = true;
  };
  mutable std::mutex mutex_;
  std::unordered_map<NodeId, File> files_;  // guarded by mutex_
  std::atomic<size_t> count_{0};            // of files_; changed under mutex_
};

}  // namespace rsyncfs
