// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/mapped_content.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sync/replica/state_directory.h"

namespace rsyncfs {
namespace {

std::unique_ptr<const BlockGuard> guard_of(const ContentRow& row, const std::byte* base,
                                           const std::shared_ptr<DamageReports>& damage) {
  if (row.sums.empty() || base == nullptr) return nullptr;
  return std::make_unique<BlockGuard>(row.node, row.sums, base, damage);
}

}  // namespace

Result<std::shared_ptr<const Content>> SlabContent::make(const ContentRow& row, std::shared_ptr<SlabMap> slab,
                                                         const std::shared_ptr<DamageReports>& damage) {
  if (slab != nullptr && !slab->reaches(row.place.position + row.place.size)) {
    return Error(Errc::kCorrupt, "a slab of the store is too short");
  }
  return std::shared_ptr<const Content>(std::make_shared<SlabContent>(row, std::move(slab), damage));
}

SlabContent::SlabContent(const ContentRow& row, std::shared_ptr<SlabMap> slab,
                         const std::shared_ptr<DamageReports>& damage)
    : slab_(std::move(slab)), position_(row.place.position) {
  size_ = row.place.size;
  complete_ = row.complete;
  extents_ = row.whole_or_part();
  if (slab_ == nullptr) return;
  slab_->pin(position_);
  base_ = slab_->at(position_);
  guard_ = guard_of(row, base_, damage);
}

SlabContent::~SlabContent() {
  if (slab_ != nullptr) slab_->unpin(position_);
}

uint64_t SlabContent::seek_data(uint64_t offset) const {
  return offset < size_ ? offset : size_;
}

uint64_t SlabContent::seek_hole(uint64_t) const {
  return size_;
}

Result<std::shared_ptr<const Content>> BlockContent::make(const ContentRow& row, std::string path,
                                                          const std::shared_ptr<DamageReports>& damage) {
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return Error(Errc::kNotFound, path + " is missing");
    return Error::os(errno, path);
  }
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return Error::os(errno, path);
  if (static_cast<uint64_t>(status.st_size) < row.place.size)
    return Error(Errc::kCorrupt, path + " is too short");
  void* base = nullptr;
  if (row.place.size != 0) {
    base = mmap(nullptr, row.place.size, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (base == MAP_FAILED) return Error::os(errno, "mapping " + path);
  }
  return std::shared_ptr<const Content>(
      std::make_shared<BlockContent>(row, std::move(path), static_cast<const std::byte*>(base), damage));
}

BlockContent::BlockContent(const ContentRow& row, std::string path, const std::byte* base,
                           const std::shared_ptr<DamageReports>& damage)
    : path_(std::move(path)) {
  size_ = row.place.size;
  complete_ = row.complete;
  extents_ = row.whole_or_part();
  base_ = base;
  guard_ = guard_of(row, base_, damage);
}

BlockContent::~BlockContent() {
  if (base_ != nullptr) munmap(const_cast<std::byte*>(base_), size_);  // NOLINT: munmap wants it so
}

uint64_t BlockContent::seek_data(uint64_t offset) const {
  if (offset >= size_) return size_;
  const OwnedFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return offset;
  const off_t found = lseek(fd.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (found >= 0) return static_cast<uint64_t>(found) < size_ ? static_cast<uint64_t>(found) : size_;
  return errno == ENXIO ? size_ : offset;
}

uint64_t BlockContent::seek_hole(uint64_t offset) const {
  if (offset >= size_) return size_;
  const OwnedFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return size_;
  const off_t found = lseek(fd.get(), static_cast<off_t>(offset), SEEK_HOLE);
  return found >= 0 && static_cast<uint64_t>(found) < size_ ? static_cast<uint64_t>(found) : size_;
}

}  // namespace rsyncfs
