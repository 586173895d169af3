// SPDX-License-Identifier: GPL-3.0-or-later
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sync/replica/punch.h"
#include "sync/replica/slabs.h"

namespace rsyncfs {

Result<std::shared_ptr<SlabMap>> SlabMap::open(std::string path, uint64_t slab,
                                               std::shared_ptr<DiskUsage> usage) {
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return Error(Errc::kCorrupt, "a slab of the store is missing: " + path);
    return Error::os(errno, path);
  }
  // The whole range at once: the file grows into it.
  void* base = mmap(nullptr, kSlabBytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return Error::os(errno, "mapping " + path);
  return std::shared_ptr<SlabMap>(
      new SlabMap(std::move(path), slab, std::move(usage), static_cast<const std::byte*>(base)));
}

SlabMap::~SlabMap() {
  munmap(const_cast<std::byte*>(base_), kSlabBytes);
}  // NOLINT: munmap wants it so

bool SlabMap::reaches(uint64_t end) {
  std::lock_guard lock(mutex_);
  if (end <= file_size_) return true;
  struct stat status {};
  if (stat(path_.c_str(), &status) == 0) file_size_ = static_cast<uint64_t>(status.st_size);
  return end <= file_size_;
}

void SlabMap::pin(uint64_t position) {
  std::lock_guard lock(mutex_);
  ++pins_[position].count;
}

void SlabMap::unpin(uint64_t position) {
  uint64_t free_size = 0;
  {
    std::lock_guard lock(mutex_);
    const auto pin = pins_.find(position);
    RSYNCFS_CHECK(pin != pins_.end());
    if (--pin->second.count > 0) return;
    free_size = pin->second.free_size;
    pins_.erase(pin);
  }
  if (free_size == 0) return;
  punch_hole(path_, position, free_size);
  usage_->slab_changed(slab_);
}

bool SlabMap::free_later(uint64_t position, uint64_t size) {
  std::lock_guard lock(mutex_);
  const auto pin = pins_.find(position);
  if (pin == pins_.end()) return false;
  pin->second.free_size = size;
  return true;
}

void punch_hole(const std::string& path, uint64_t position, uint64_t size) {
  const OwnedFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return;
  static_cast<void>(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(position), static_cast<off_t>(size)));
}

}  // namespace rsyncfs
