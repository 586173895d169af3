// SPDX-License-Identifier: GPL-3.0-or-later
// Descriptors of the block files of layers, kept open for a while: most are written again at once.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <utility>

#include "io/base/result.h"
#include "sync/replica/state_directory.h"

namespace rsyncfs {

using SharedFd = std::shared_ptr<const OwnedFd>;

// Any thread.
class OpenFiles {
 public:
  explicit OpenFiles(const StateDirectory& directory) : directory_(directory) {}

  // For reading and writing. kCorrupt when the file is not there.
  Result<SharedFd> open(uint64_t block_file);
  SharedFd keep(uint64_t block_file, OwnedFd fd);
  void forget(uint64_t block_file);

 private:
  static constexpr size_t kMaxOpen = 64;
  using Entry = std::pair<uint64_t, SharedFd>;

  SharedFd put(uint64_t block_file, SharedFd fd);

  const StateDirectory& directory_;
  std::mutex mutex_;
  std::list<Entry> recent_;  // guarded by mutex_; the last used is the first
};

}  // namespace rsyncfs
