// SPDX-License-Identifier: GPL-3.0-or-later
// Sparse files, each with the bytes of one content. A number is used once, ever.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "io/base/result.h"
#include "io/file_batch.h"
#include "sync/replica/disk_usage.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// Any thread.
class BlockFiles {
 public:
  BlockFiles(const StateDirectory& directory, Writer& writer, FileBatch& batch, DiskUsage& usage)
      : directory_(directory), writer_(writer), batch_(batch), usage_(usage) {}

  // Takes the first numbers; those below belong to earlier runs. Before anything else.
  Result<void> recover();

  struct Created {
    uint64_t id = 0;
    OwnedFd fd;  // for reading and writing
  };
  // Empty, with all of its bytes a hole. May begin a transaction.
  Result<Created> create(uint64_t size);
  // So many numbers, for create_numbered(), once the transaction is committed: the first of them is set then.
  Result<void> take_numbers(Transaction& transaction, uint64_t count, uint64_t& first_out);
  Result<Created> create_numbered(uint64_t id);
  // Opens one that a row speaks of, for going on with it. kNotFound when another writer has it, it is lent,
  // or it is gone.
  Result<Created> reopen(uint64_t id);
  // Its writer is done with it: it goes, unless a row speaks of it.
  void closed(uint64_t id);
  // A committed row speaks of it.
  void recorded(uint64_t id);
  // No row speaks of it any more. True: nobody writes it either, so remove() it; no row will speak of it
  // again.
  bool released(uint64_t id);
  void remove(uint64_t id) { remove(std::span(&id, 1)); }
  void remove(std::span<const uint64_t> ids);
  // Somebody writes it now.
  bool is_open(uint64_t id) const;
  // Nobody may write it from now on. False: somebody does.
  bool lend(uint64_t id);
  void take_back(uint64_t id);
  // It takes another amount of disk space than before.
  void changed(uint64_t id) { usage_.block_file_changed(id); }

  std::string path(uint64_t id) const { return directory_.block_file(id); }
  // Files numbered from here on were made by this process.
  uint64_t first_new() const { return first_new_; }

 private:
  Result<uint64_t> take_number();

  const StateDirectory& directory_;
  Writer& writer_;
  FileBatch& batch_;
  DiskUsage& usage_;
  uint64_t first_new_ = 1;
  mutable std::mutex mutex_;
  uint64_t next_ = 1;                           // guarded by mutex_
  uint64_t end_ = 1;                            // guarded by mutex_: numbers below are ours to give
  std::unordered_map<uint64_t, bool> writing_;  // guarded by mutex_: is a row speaking of it?
  std::unordered_set<uint64_t> lent_;           // guarded by mutex_
};

}  // namespace rsyncfs
