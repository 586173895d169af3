// SPDX-License-Identifier: GPL-3.0-or-later
// Which contents are surely on the disk, and not only in the kernel's memory. Contents are recorded after
// their bytes were written, but not synced: a killed process loses nothing. When the machine goes down, the
// record may survive and the bytes not. So every record has the number of an epoch, epochs are synced as a
// whole, and after a restart of the kernel the contents of epochs that never were are dropped.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/base/result.h"
#include "io/file_batch.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

class SyncEpochs {
 public:
  SyncEpochs(const StateDirectory& directory, Writer& writer, FileBatch& batch)
      : directory_(directory), writer_(writer), batch_(batch) {}

  // Whether the store was last opened in this running of the kernel. Before recover().
  Result<bool> is_of(const std::string& boot) const;
  // Begins a new epoch, and drops what did not survive. `boot`: names the running of the kernel, empty if
  // unknown.
  Result<void> recover(const std::string& boot);
  // A record of these bytes was committed. With the writer held.
  void wrote(const std::vector<BytesPlace>& places);
  // Closes the epoch and syncs its files. Any thread. After a failure, the files that layers of local changes
  // are in have to be written anew: what the kernel could not write it does not try again.
  Result<void> sync();

 private:
  // Above this the whole file system is synced instead, which waits for what others have written, too.
  static constexpr size_t kMaxFiles = 256;
  using File = std::pair<uint64_t, uint64_t>;  // slab, or 0 and block file

  Result<void> drop_unsynced(Transaction& transaction, uint64_t synced);
  Result<void> sync_files(const std::set<File>& files, bool all);
  Result<void> sync_bytes(const std::vector<std::string>& paths, std::vector<std::string>& synced);

  const StateDirectory& directory_;
  Writer& writer_;
  FileBatch& batch_;
  std::mutex sync_mutex_;  // one sync() at a time; before the writer
  uint64_t synced_ = 0;    // of recover() and sync() only
  std::mutex mutex_;
  std::set<File> files_;   // guarded by mutex_; written in the running epoch
  bool overflow_ = false;  // guarded by mutex_: and more
};

}  // namespace rsyncfs
