// SPDX-License-Identifier: GPL-3.0-or-later
// How much disk the contents of files may take, and that it is kept: what was not used for longest goes
// before more is stored, and in the background where something else takes the space.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>

#include "io/base/result.h"
#include "io/loop.h"
#include "sync/engine/status.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

struct CacheLimits {
  uint64_t cache_bytes = UINT64_MAX;  // of disk space that slabs and block files take
  uint64_t min_free_bytes = 0;        // of the file system that the store is on
  // Inodes whose contents stay because programs have them mapped. Any thread; none set: none.
  std::function<InodeSet()> mapped;
};

// Any thread but the loop's, which must not wait for the disk.
class CacheBudget {
 public:
  // `replica` must outlive it.
  CacheBudget(Replica& replica, CacheLimits limits);

  // Before so many bytes are stored. kOs with ENOSPC: there is no room, nor anything that may go.
  Result<void> make_room(uint64_t bytes);
  // The disk was full, whatever the limits say. True: contents were let go, it may work now.
  bool relieve(uint64_t bytes);
  // Lets go of what is too much by now.
  void keep();

  // Cheap, the loop's thread included:
  // A file of this size can be here as a whole.
  bool fits(uint64_t file_bytes) const;
  // Files that are stored together should not have more.
  uint64_t batch_bytes() const;
  bool limited() const { return limits_.cache_bytes != UINT64_MAX || limits_.min_free_bytes != 0; }
  CacheStatus status() const;

 private:
  uint64_t lack(uint64_t bytes);
  bool is_fruitless() const { return Clock::now() < fruitless_until_; }
  // Until nothing lacks any more, and some more so that not every file begins it anew.
  void let_go(uint64_t lacking, uint64_t bytes);
  bool evict(uint64_t bytes, uint64_t used_before, const InodeSet& mapped, size_t at_once);

  Replica& replica_;
  const CacheLimits limits_;
  uint64_t slack_bytes_ = 0;  // let go at once beyond what lacks
  uint64_t grant_bytes_ = 0;  // may be stored between two looks at the disk
  std::mutex mutex_;
  uint64_t granted_ = 0;  // guarded by mutex_
  uint64_t spare_ = 0;    // guarded by mutex_; as of the last look
  // Guarded by mutex_. All that there is was looked at in vain: it is left alone until then.
  Clock::time_point fruitless_until_{};
  std::atomic<uint64_t> disk_bytes_{0};
  std::atomic<uint64_t> free_bytes_{0};
  std::atomic<uint64_t> evicted_files_{0};
  std::atomic<uint64_t> evicted_bytes_{0};
};

bool is_disk_full(const Error& error);
// The local disk took something not; what it was to be stored for can go on.
bool is_store_trouble(const Error& error);

}  // namespace rsyncfs
