// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/cache_budget.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kMaxSlackBytes = 256 << 20;
constexpr uint64_t kSlackParts = 40;  // 2.5 % of what there may be
constexpr uint64_t kMinGrantBytes = 64 << 10;
constexpr uint64_t kMaxGrantBytes = 8 << 20;
constexpr uint64_t kGrantParts = 256;
constexpr uint64_t kMinReserveBytes = 256 << 10;
constexpr uint64_t kMaxReserveBytes = 4 << 20;
constexpr uint64_t kReserveParts = 64;
constexpr uint64_t kBatchParts = 16;
constexpr uint64_t kRoomBesideOneFile = 8;  // so many parts, of which a file may have all but one
// In one transaction: a few milliseconds.
constexpr size_t kContentsAtOnce = 128;
constexpr uint64_t kRoomForDatabase = 4 << 20;  // on a disk that was full
constexpr size_t kContentsAtOnceWhenFull = 16;  // the database has little space to say what goes

// At once: the store strand has other work, too. The rest follows a second later.
constexpr int kMaxSteps = 64;
constexpr std::chrono::seconds kFruitlessFor{5};

uint64_t missing(uint64_t wanted, uint64_t there) {
  return wanted > there ? wanted - there : 0;
}

struct DiskSpace {
  uint64_t total = 0;
  uint64_t free = 0;
};

DiskSpace look_at_disk(const std::string& directory) {
  struct statvfs now {};
  if (::statvfs(directory.c_str(), &now) != 0) return {UINT64_MAX, UINT64_MAX};
  return {now.f_blocks * now.f_frsize, now.f_bavail * now.f_frsize};
}

}  // namespace

CacheBudget::CacheBudget(Replica& replica, CacheLimits limits)
    : replica_(replica), limits_(std::move(limits)) {
  const DiskSpace disk = look_at_disk(replica.directory());
  free_bytes_ = disk.free;
  const uint64_t most = std::min(limits_.cache_bytes, disk.total);
  slack_bytes_ = std::min(kMaxSlackBytes, most / kSlackParts);
  grant_bytes_ = std::clamp(most / kGrantParts, kMinGrantBytes, kMaxGrantBytes);
  if (limits_.cache_bytes != UINT64_MAX) {
    replica.cache().set_reserve(
        std::clamp(limits_.cache_bytes / kReserveParts, kMinReserveBytes, kMaxReserveBytes));
  }
}

uint64_t CacheBudget::lack(uint64_t bytes) {
  const uint64_t used = replica_.cache().disk_bytes();
  const uint64_t free = look_at_disk(replica_.directory()).free;
  disk_bytes_ = used;
  free_bytes_ = free;
  uint64_t lacking = missing(used + bytes, limits_.cache_bytes);
  spare_ = missing(limits_.cache_bytes, used + bytes);
  if (limits_.min_free_bytes != 0) {
    lacking = std::max(lacking, missing(limits_.min_free_bytes + bytes, free));
    spare_ = std::min(spare_, missing(free, limits_.min_free_bytes + bytes));
  }
  return lacking;
}

bool CacheBudget::evict(uint64_t bytes, uint64_t used_before, const InodeSet& mapped, size_t at_once) {
  auto gone = replica_.cache().evict({bytes, at_once, used_before, &mapped});
  // The database needs a few blocks to say what goes.
  if (!gone && is_disk_full(gone.error()) && replica_.cache().give_reserve_back())
    gone = replica_.cache().evict({bytes, kContentsAtOnceWhenFull, used_before, &mapped});
  if (!gone) {
    log_warn("making room in the cache: " + gone.error().message());
    return false;
  }
  evicted_files_ += gone->files;
  evicted_bytes_ += gone->bytes;
  return !gone->exhausted;
}

// What is freed on the disk may be less than the contents: they have holes, or share blocks with others.
void CacheBudget::let_go(uint64_t lacking, uint64_t bytes) {
  const uint64_t moment = replica_.cache().moment();
  const InodeSet mapped = limits_.mapped ? limits_.mapped() : InodeSet();
  uint64_t goal = lacking + slack_bytes_;
  for (int step = 0; goal > 0 && step < kMaxSteps; ++step) {
    const uint64_t before = evicted_bytes_;
    const bool more = evict(goal, moment, mapped, kContentsAtOnce);
    const uint64_t freed = evicted_bytes_ - before;
    lacking = lack(bytes);
    if (!more && lacking > 0) fruitless_until_ = Clock::now() + kFruitlessFor;
    if (!more) return;
    goal = std::max(goal - std::min(goal, freed), lacking);
  }
}

Result<void> CacheBudget::make_room(uint64_t bytes) {
  if (!limited()) return {};
  const std::lock_guard lock(mutex_);
  if (granted_ >= bytes) {
    granted_ -= bytes;
    return {};
  }
  granted_ = 0;
  if (const uint64_t lacking = lack(bytes); lacking > 0) {
    if (!is_fruitless()) let_go(lacking, bytes);
    if (lack(bytes) > 0) {
      return Error::os(ENOSPC, missing(disk_bytes_ + bytes, limits_.cache_bytes) > 0
                                   ? "no room in the cache: what is there is pinned, in use or not sent yet"
                                   : "no room in the cache: min_free= is to be kept free");
    }
  }
  granted_ = std::min(grant_bytes_, spare_);
  return {};
}

bool CacheBudget::relieve(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  granted_ = 0;
  if (is_fruitless()) return false;
  if (auto done = replica_.cache().give_reserve_back(); !done) log_warn(done.error().message());
  const uint64_t moment = replica_.cache().moment();
  const InodeSet mapped = limits_.mapped ? limits_.mapped() : InodeSet();
  const uint64_t before = evicted_bytes_;
  const uint64_t goal = bytes + slack_bytes_ + kRoomForDatabase;
  while (evicted_bytes_ - before < goal &&
         evict(goal - (evicted_bytes_ - before), moment, mapped, kContentsAtOnceWhenFull)) {
    continue;
  }
  replica_.cache().take_reserve();
  if (evicted_bytes_ == before) fruitless_until_ = Clock::now() + kFruitlessFor;
  return evicted_bytes_ != before;
}

void CacheBudget::keep() {
  const std::lock_guard lock(mutex_);
  granted_ = 0;
  replica_.cache().take_reserve();
  if (const uint64_t lacking = lack(0); lacking > 0 && !is_fruitless()) let_go(lacking, 0);
}

bool CacheBudget::fits(uint64_t file_bytes) const {
  return limits_.cache_bytes == UINT64_MAX ||
         file_bytes <= limits_.cache_bytes - limits_.cache_bytes / kRoomBesideOneFile;
}

uint64_t CacheBudget::batch_bytes() const {
  return limits_.cache_bytes / kBatchParts;
}

CacheStatus CacheBudget::status() const {
  CacheStatus out;
  out.disk_bytes = disk_bytes_;
  out.limit_bytes = limits_.cache_bytes == UINT64_MAX ? 0 : limits_.cache_bytes;
  out.min_free_bytes = limits_.min_free_bytes;
  out.free_bytes = free_bytes_;
  out.evicted_files = evicted_files_;
  out.evicted_bytes = evicted_bytes_;
  out.pins = replica_.cache().pin_count();
  return out;
}

bool is_disk_full(const Error& error) {
  return error.os_errno() == ENOSPC || error.os_errno() == EDQUOT;
}

bool is_store_trouble(const Error& error) {
  return error.code() == Errc::kOs;
}

}  // namespace rsyncfs
