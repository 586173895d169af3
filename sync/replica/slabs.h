// SPDX-License-Identifier: GPL-3.0-or-later
// Files in which the bytes of small contents lie one after the other.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/disk_usage.h"
#include "sync/replica/state_directory.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

constexpr uint64_t kSlabBytes = 64 << 20;
// Contents begin at multiples of this: sync/replica/FORMAT.md has the measurement behind it.
constexpr uint64_t kSlabAlignment = 64;

// One slab, mapped whole; only what is committed may be touched. Any thread.
class SlabMap {
 public:
  static Result<std::shared_ptr<SlabMap>> open(std::string path, uint64_t slab,
                                               std::shared_ptr<DiskUsage> usage);
  SlabMap(const SlabMap&) = delete;
  SlabMap& operator=(const SlabMap&) = delete;
  ~SlabMap();

  // False: the file is shorter than that.
  bool reaches(uint64_t end);
  const std::byte* at(uint64_t position) const { return base_ + position; }
  // While pinned, the bytes stay even when they are freed.
  void pin(uint64_t position);
  void unpin(uint64_t position);
  // True: it is pinned; its disk space is given back with the last pin. False: nobody holds it, the caller
  // may.
  bool free_later(uint64_t position, uint64_t size);

 private:
  struct Pin {
    uint32_t count = 0;
    uint64_t free_size = 0;  // not 0: freed
  };
  SlabMap(std::string path, uint64_t slab, std::shared_ptr<DiskUsage> usage, const std::byte* base)
      : path_(std::move(path)), slab_(slab), usage_(std::move(usage)), base_(base) {}

  const std::string path_;
  const uint64_t slab_;
  const std::shared_ptr<DiskUsage> usage_;  // contents, and so maps, may outlive the store
  const std::byte* const base_;
  std::mutex mutex_;
  uint64_t file_size_ = 0;                  // guarded by mutex_; as last seen
  std::unordered_map<uint64_t, Pin> pins_;  // guarded by mutex_
};

class Slabs {
 public:
  Slabs(const StateDirectory& directory, size_t max_maps, std::shared_ptr<DiskUsage> usage)
      : directory_(directory), max_maps_(max_maps), usage_(std::move(usage)) {}

  // Finds where the last run left off. Before anything else.
  Result<void> recover(Connection& db);

  // Writes files one after the other and says where; with the transaction that will speak of them. Unless
  // committed() follows, the space is used again.
  Result<std::vector<BytesPlace>> append(Transaction& transaction,
                                         const std::vector<std::span<const std::byte>>& files);
  // The transaction of the last append() was committed. Called while the writer is still held.
  void committed() { tail_ = next_; }

  // Any thread. kCorrupt when the file is missing.
  Result<std::shared_ptr<SlabMap>> map(uint64_t slab);
  // Gives disk space back; the rows that spoke of it are gone. Both one at a time.
  void free(std::vector<BytesPlace> places);
  void remove(uint64_t slab);
  // Disk space that is allocated ahead of what is written. Any thread.
  void set_reserve(uint64_t bytes) { reserve_bytes_ = bytes; }
  // Gives it back. With the writer held, and no transaction that appends.
  void give_reserve_back();
  // Slabs numbered from here on were made by this process.
  uint64_t first_new() const { return first_new_; }

 private:
  // The slab at whose end files are appended.
  struct Tail {
    uint64_t id = 0;  // 0: none
    uint64_t used = 0;
    std::shared_ptr<OwnedFd> file;
    uint64_t reserved = 0;  // disk space is allocated up to here
  };
  Result<void> start_slab(Transaction& transaction);
  Result<void> reserve(uint64_t end);
  Result<void> write_staged();
  Result<void> record_tail(Transaction& transaction);
  std::shared_ptr<SlabMap> mapped(uint64_t slab);
  void punch(uint64_t slab, ExtentSet::Range dead);

  const StateDirectory& directory_;
  const size_t max_maps_;
  const std::shared_ptr<DiskUsage> usage_;
  std::atomic<uint64_t> reserve_bytes_{4 << 20};
  // With the writer only.
  Tail tail_;  // as committed
  Tail next_;  // as the running transaction has it
  uint64_t next_id_ = 1;
  uint64_t first_new_ = 1;
  std::vector<std::byte> staged_;  // what next_ will get at staged_at_
  uint64_t staged_at_ = 0;

  // With free() and remove() only: what is dead of each slab, as far as this process knows. A block goes with
  // the last of those that share it, whenever each of them died.
  std::unordered_map<uint64_t, ExtentSet> dead_;

  std::mutex mutex_;
  std::unordered_map<uint64_t, std::weak_ptr<SlabMap>>
      maps_;  // guarded by mutex_: one map per slab at a time
  std::list<std::pair<uint64_t, std::shared_ptr<SlabMap>>> recent_;  // guarded by mutex_: kept mapped
};

}  // namespace rsyncfs
