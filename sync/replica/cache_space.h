// SPDX-License-Identifier: GPL-3.0-or-later
// Which contents stay here and which may go: last uses, pins, and the disk space that all of them take. Only
// what the source has as it is here is ever let go; its node stays, and stays the version that it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/types.h"

namespace rsyncfs {

using InodeSet = std::unordered_set<uint64_t>;

// One step of letting go of what was not used for longest.
struct Eviction {
  uint64_t bytes = 0;                // about so many; more when the last content is larger
  size_t max_contents = 0;           // that are looked at
  uint64_t used_before = 0;          // of the contents used before this moment: CacheSpace::moment()
  const InodeSet* in_use = nullptr;  // inodes that stay
};

struct Evicted {
  uint64_t files = 0;
  uint64_t bytes = 0;     // of their contents, as far as they were here
  bool exhausted = true;  // nothing else was used before that moment
};

// What became of one content that was to be let go.
enum class FreeOutcome : uint8_t {
  kFreed,
  kNothingHere,
  kDirty,   // the source does not have it as it is here, or does not have it any more
  kPinned,  // itself, or a directory above it
  kInUse,   // mapped by a program, lent, or being fetched
};

struct FreedFile {
  FreeOutcome outcome = FreeOutcome::kNothingHere;
  uint64_t bytes = 0;  // kFreed: that were here
};

// Any thread. Errors as the Replica's.
class CacheSpace {
 public:
  virtual ~CacheSpace() = default;

  // Somebody reads the content. Cheap; recorded with many others.
  virtual void note_use(NodeId file) = 0;
  // A moment in the order of uses: those before it, and those to come.
  virtual uint64_t moment() = 0;
  // Disk space of all slabs and block files, those of local changes and what is allocated ahead included.
  virtual uint64_t disk_bytes() = 0;
  // How much is allocated ahead at most.
  virtual void set_reserve(uint64_t bytes) = 0;
  // Gives up what is allocated ahead, or only so that it can be given up: for a disk that is full.
  virtual Result<void> give_reserve_back() = 0;
  // The latter again, once there is room.
  virtual void take_reserve() = 0;

  // In one small transaction. What must stay counts as used now, so that it is not met again and again. The
  // disk space is free when the call returns, but for bytes that somebody is just reading.
  virtual Result<Evicted> evict(const Eviction& eviction) = 0;
  // The contents of these files, in one transaction; `result[i]` is of files[i].
  virtual Result<std::vector<FreedFile>> free_contents(const std::vector<NodeId>& files,
                                                       const InodeSet& in_use) = 0;

  // The inode, and all that is and comes to be below it, stays here once it was fetched. kNotFound; kLimit.
  virtual Result<void> pin(NodeId node) = 0;
  // Takes the pins of the inode, and of all that is below it; returns how many there were.
  virtual Result<size_t> unpin(NodeId node) = 0;
  // By a pin of its own, or of a directory above it.
  virtual Result<bool> is_pinned(NodeId node) const = 0;
  // Which of `nodes` are.
  virtual Result<std::vector<NodeId>> pinned_among(const std::vector<NodeId>& nodes) const = 0;
  // The nodes that pins lead to now; slow.
  virtual Result<std::vector<NodeId>> pinned_nodes() const = 0;
  virtual size_t pin_count() const = 0;  // cheap
};

}  // namespace rsyncfs
