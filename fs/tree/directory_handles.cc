// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/directory_handles.h"

#include "io/base/result.h"

namespace rsyncfs {

std::string_view NameTrail::at(size_t index) const {
  RSYNCFS_CHECK(index < ends_.size());
  const size_t begin = index == 0 ? 0 : ends_[index - 1];
  return std::string_view(bytes_).substr(begin, ends_[index] - begin);
}

void NameTrail::append(std::string_view name) {
  bytes_.append(name);
  RSYNCFS_CHECK(bytes_.size() <= UINT32_MAX);
  ends_.push_back(static_cast<uint32_t>(bytes_.size()));
}

void NameTrail::truncate(size_t size) {
  if (size >= ends_.size()) return;
  ends_.resize(size);
  bytes_.resize(ends_.empty() ? 0 : ends_.back());
}

uint64_t DirectoryHandles::open() {
  const std::lock_guard lock(mutex_);
  const uint64_t handle = next_++;
  handles_.emplace(handle, std::make_shared<DirectoryHandle>());
  return handle;
}

std::shared_ptr<DirectoryHandle> DirectoryHandles::find(uint64_t handle) const {
  const std::lock_guard lock(mutex_);
  const auto it = handles_.find(handle);
  return it == handles_.end() ? nullptr : it->second;
}

void DirectoryHandles::close(uint64_t handle) {
  std::shared_ptr<DirectoryHandle> last;  // freed after the lock
  const std::lock_guard lock(mutex_);
  const auto it = handles_.find(handle);
  if (it == handles_.end()) return;
  last = std::move(it->second);
  handles_.erase(it);
}

size_t DirectoryHandles::size() const {
  const std::lock_guard lock(mutex_);
  return handles_.size();
}

}  // namespace rsyncfs
