// SPDX-License-Identifier: GPL-3.0-or-later
// Which files are open how, and the backing files that the kernel was given (FUSE_PASSTHROUGH). Private to
// fs/fuse. Source: fs/fuse/iomode.c and passthrough.c of Linux.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "fs/tree/tree.h"

namespace rsyncfs {

// As long as one open of an inode has a backing file all have it, and it is the same one; as long as one goes
// through the page cache none has. The number is our handle of the open file.
enum class OpenKind : uint8_t {
  kCached = 0,
  kBacked = 1,  // read by the kernel
  kWriter = 2,  // calls come to us, nothing is written into maps
  kMapper = 3,  // calls come to us, and maps are of the backing file
};

struct OpenedFile {
  OpenKind kind = OpenKind::kCached;
  int32_t backing = 0;  // the kernel's number of it
};

// Any thread.
class BackingFiles {
 public:
  explicit BackingFiles(Tree& tree) : tree_(tree) {}
  BackingFiles(const BackingFiles&) = delete;
  BackingFiles& operator=(const BackingFiles&) = delete;

  // Before the first request. `most_bytes`: of a file.
  void start(int channel, uint64_t most_bytes);
  // With the answer to FUSE_INIT: the kernel does it. Otherwise opens are not even counted.
  void agree() { agreed_.store(true); }
  bool agreed() const { return agreed_.load(std::memory_order_relaxed); }

  // `flags` as of open(2). Each open is to be closed, unless it came to nothing.
  OpenedFile open(NodeId node, int flags);
  void close(NodeId node);
  // Of what is open with a backing file; null otherwise.
  std::shared_ptr<const LentContent> lent(NodeId node);

  uint64_t lent_total() const { return lent_total_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kShards = 16;
  struct Use {
    uint64_t opens = 0;
    int32_t backing = 0;
    std::shared_ptr<LentContent> lent;
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<NodeId, Use> files;  // guarded by mutex
  };
  Shard& shard(NodeId node) { return shards_[node % kShards]; }
  void lend(NodeId node, Use& use);

  Tree& tree_;
  int channel_ = -1;
  uint64_t most_bytes_ = 0;
  std::atomic<bool> agreed_{false};
  std::atomic<bool> refused_{false};  // the kernel did not take one
  std::atomic<uint64_t> lent_total_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace rsyncfs
