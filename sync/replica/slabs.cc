// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/slabs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>

#include "sync/replica/content.h"
#include "sync/replica/punch.h"
#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

constexpr size_t kStagedBytes = 1 << 20;
// One map in so many may be a slab; each stands for thousands of contents.
constexpr size_t kMapsPerSlab = 16;
constexpr size_t kMinSlabMaps = 4;

constexpr uint64_t kBlockBytes = 4096;
// That are remembered, of all slabs; beyond that it begins anew.
constexpr size_t kMaxDeadRanges = 65'536;

constexpr Sql kTail{"SELECT id, used FROM slabs WHERE sealed=0 ORDER BY id DESC LIMIT 1"};
constexpr Sql kMaxId{"SELECT max(id) FROM slabs"};
constexpr Sql kSealOthers{"UPDATE slabs SET sealed=1 WHERE sealed=0 AND id<>?"};
constexpr Sql kStart{"INSERT INTO slabs(id, used, live_files, live_bytes, sealed) VALUES(?, 0, 0, 0, 0)"};
constexpr Sql kSeal{"UPDATE slabs SET sealed=1 WHERE id=?"};
constexpr Sql kSetUsed{"UPDATE slabs SET used=? WHERE id=?"};

uint64_t align_up(uint64_t position) {
  return (position + kSlabAlignment - 1) / kSlabAlignment * kSlabAlignment;
}

}  // namespace

Result<void> Slabs::recover(Connection& db) {
  {
    Query query(db, kMaxId);
    auto row = query.step();
    if (!row) return row.error();
    next_id_ = first_new_ = query.unsigned_at(0) + 1;
  }
  {
    Query query(db, kTail);
    auto row = query.step();
    if (!row) return row.error();
    if (*row) {
      Tail tail{query.unsigned_at(0), query.unsigned_at(1), nullptr, query.unsigned_at(1)};
      OwnedFd file(::open(directory_.slab(tail.id).c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
      struct stat status {};
      // A damaged one is left as it is; what it lacks is found missing when it is read.
      if (file && fstat(file.get(), &status) == 0 && static_cast<uint64_t>(status.st_size) >= tail.used &&
          tail.used <= kSlabBytes) {
        tail.file = std::make_shared<OwnedFd>(std::move(file));
        tail_ = next_ = tail;
      }
    }
  }
  Query seal(db, kSealOthers);
  seal.unsigned_integer(tail_.id);
  return seal.run();
}

Result<std::vector<BytesPlace>> Slabs::append(Transaction& transaction,
                                              const std::vector<std::span<const std::byte>>& files) {
  std::vector<BytesPlace> places;
  if (files.empty()) return places;
  places.reserve(files.size());
  next_ = tail_;
  staged_.clear();
  staged_at_ = align_up(next_.used);
  for (const auto& file : files) {
    RSYNCFS_CHECK(!file.empty() && file.size() <= kSlabMaxFileBytes);
    const uint64_t position = align_up(next_.used);
    if (next_.id == 0 || position + file.size() > kSlabBytes) {
      if (auto done = start_slab(transaction); !done) return done.error();
    }
    const BytesPlace place{next_.id, align_up(next_.used), file.size()};
    staged_.resize(place.position - staged_at_);
    staged_.insert(staged_.end(), file.begin(), file.end());
    next_.used = place.position + place.size;
    places.push_back(place);
    if (staged_.size() >= kStagedBytes) {
      if (auto done = write_staged(); !done) return done.error();
    }
  }
  if (auto done = write_staged(); !done) return done.error();
  if (auto done = record_tail(transaction); !done) return done.error();
  if (staged_.capacity() > 2 * kStagedBytes) staged_.shrink_to_fit();
  return places;
}

Result<void> Slabs::start_slab(Transaction& transaction) {
  if (next_.id != 0) {
    if (auto done = write_staged(); !done) return done;
    if (auto done = record_tail(transaction); !done) return done;
    Query seal(transaction.db(), kSeal);
    seal.unsigned_integer(next_.id);
    if (auto done = seal.run(); !done) return done;
    // So that a sealed slab in which nothing lives is noticed.
    transaction.use_slab(next_.id, 0, 0);
  }
  const uint64_t id = next_id_++;
  const std::string path = directory_.slab(id);
  OwnedFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return Error::os(errno, path);
  next_ = Tail{id, 0, std::make_shared<OwnedFd>(std::move(file)), 0};
  staged_at_ = 0;
  Query start(transaction.db(), kStart);
  start.unsigned_integer(id);
  return start.run();
}

Result<void> Slabs::reserve(uint64_t end) {
  if (end <= next_.reserved) return {};
  const uint64_t want = std::min(kSlabBytes, std::max(end, next_.reserved + reserve_bytes_));
  if (fallocate(next_.file->get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(next_.reserved),
                static_cast<off_t>(want - next_.reserved)) != 0 &&
      errno == ENOSPC) {
    // Perhaps there is still enough for this one.
    return {};
  }
  next_.reserved = want;
  return {};
}

Result<void> Slabs::write_staged() {
  if (!staged_.empty()) {
    usage_->slab_changed(next_.id);
    if (auto done = reserve(staged_at_ + staged_.size()); !done) return done;
    if (auto done = write_all(next_.file->get(), staged_, staged_at_, "writing a slab"); !done) return done;
  }
  staged_at_ += staged_.size();
  staged_.clear();
  return {};
}

Result<void> Slabs::record_tail(Transaction& transaction) {
  Query update(transaction.db(), kSetUsed);
  update.unsigned_integer(next_.used).unsigned_integer(next_.id);
  return update.run();
}

std::shared_ptr<SlabMap> Slabs::mapped(uint64_t slab) {
  std::lock_guard lock(mutex_);
  const auto found = maps_.find(slab);
  return found == maps_.end() ? nullptr : found->second.lock();
}

Result<std::shared_ptr<SlabMap>> Slabs::map(uint64_t slab) {
  std::lock_guard lock(mutex_);
  auto& known = maps_[slab];
  if (auto alive = known.lock()) return alive;
  auto opened = SlabMap::open(directory_.slab(slab), slab, usage_);
  if (!opened) {
    maps_.erase(slab);
    return opened.error();
  }
  known = *opened;
  recent_.emplace_front(slab, *opened);
  if (recent_.size() > std::max(kMinSlabMaps, max_maps_ / kMapsPerSlab)) {
    const uint64_t oldest = recent_.back().first;
    recent_.pop_back();
    if (maps_[oldest].expired()) maps_.erase(oldest);
  }
  return opened;
}

void Slabs::free(std::vector<BytesPlace> places) {
  std::sort(places.begin(), places.end(), [](const BytesPlace& a, const BytesPlace& b) {
    return std::tie(a.slab, a.position) < std::tie(b.slab, b.position);
  });
  size_t ranges = 0;
  for (const auto& [slab, dead] : dead_) ranges += dead.ranges().size();
  if (ranges > kMaxDeadRanges) dead_.clear();
  uint64_t slab = 0;
  ExtentSet::Range run{0, 0};
  for (const BytesPlace& place : places) {
    const auto map = mapped(place.slab);
    if (map != nullptr && map->free_later(place.position, place.size)) continue;
    const uint64_t end = align_up(place.position + place.size);
    dead_[place.slab].add(place.position, end);
    if (slab != place.slab || run.end != place.position) {
      if (slab != 0) punch(slab, run);
      slab = place.slab;
      run.begin = place.position;
    }
    run.end = end;
  }
  if (slab != 0) punch(slab, run);
}

// With what was dead before of the blocks at both ends.
void Slabs::punch(uint64_t slab, ExtentSet::Range dead) {
  const auto& ranges = dead_[slab].ranges();
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), dead.begin,
                                      [](uint64_t at, const auto& range) { return at < range.begin; });
  RSYNCFS_CHECK(after != ranges.begin());
  const ExtentSet::Range& all = *std::prev(after);
  const uint64_t begin = std::max(all.begin, dead.begin - std::min(dead.begin, kBlockBytes));
  const uint64_t end = std::min(all.end, dead.end + kBlockBytes);
  punch_hole(directory_.slab(slab), begin, end - begin);
  usage_->slab_changed(slab);
}

void Slabs::remove(uint64_t slab) {
  {
    std::lock_guard lock(mutex_);
    recent_.remove_if([slab](const auto& entry) { return entry.first == slab; });
  }
  dead_.erase(slab);
  unlink(directory_.slab(slab).c_str());
  usage_->slab_changed(slab);
}

void Slabs::give_reserve_back() {
  if (tail_.id == 0 || tail_.reserved <= tail_.used) return;
  // It lies beyond the end of the file, where ext4 punches nothing: cutting it off where it ends anyway
  // helps.
  struct stat status {};
  if (fstat(tail_.file->get(), &status) != 0 || ftruncate(tail_.file->get(), status.st_size) != 0) return;
  tail_.reserved = tail_.used;
  next_ = tail_;
  usage_->slab_changed(tail_.id);
}

}  // namespace rsyncfs
