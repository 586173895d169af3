// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/directory_handles.h"

#include <algorithm>

#include "io/base/result.h"

namespace rsyncfs {
namespace {

// What a directory costs beside its names, about.
constexpr size_t kOverheadBytes = 256;

}  // namespace

std::string_view NameNumbers::at(size_t number) const {
  RSYNCFS_CHECK(number < ends_.size());
  const size_t begin = number == 0 ? 0 : ends_[number - 1];
  return std::string_view(bytes_).substr(begin, ends_[number] - begin);
}

size_t NameNumbers::number_of(std::string_view name) {
  auto place = order_.end();
  // A first listing comes in order: then the end is right.
  if (!order_.empty() && name <= at(order_.back())) {
    place =
        std::lower_bound(order_.begin(), order_.end(), name,
                         [this](uint32_t number, std::string_view wanted) { return at(number) < wanted; });
    if (at(*place) == name) return *place;
  }
  const size_t number = ends_.size();
  bytes_.append(name);
  RSYNCFS_CHECK(bytes_.size() <= UINT32_MAX);
  ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  order_.insert(place, static_cast<uint32_t>(number));
  return number;
}

OpenedDirectory DirectoryHandles::open(NodeId id) {
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = directories_.try_emplace(id);
  Directory& directory = at->second;
  if (fresh) {
    directory.names = std::make_shared<DirectoryNames>();
  } else if (directory.handles == 0) {
    wake(directory);
  }
  ++directory.handles;
  handles_.emplace(next_, id);
  return {next_++, !fresh};
}

std::shared_ptr<DirectoryNames> DirectoryHandles::find(uint64_t handle) const {
  const std::lock_guard lock(mutex_);
  const auto it = handles_.find(handle);
  return it == handles_.end() ? nullptr : directories_.at(it->second).names;
}

void DirectoryHandles::close(uint64_t handle) {
  const std::lock_guard lock(mutex_);
  const auto it = handles_.find(handle);
  if (it == handles_.end()) return;
  const NodeId id = it->second;
  handles_.erase(it);
  Directory& directory = directories_.at(id);
  if (--directory.handles == 0) rest(id, directory);
}

void DirectoryHandles::rest(NodeId id, Directory& directory) {
  {
    const std::lock_guard lock(directory.names->mutex);
    directory.idle_bytes = kOverheadBytes + directory.names->numbers.bytes();
  }
  idle_bytes_ += directory.idle_bytes;
  directory.place = idle_.insert(idle_.begin(), id);
  // The one closed last stays, however large.
  while (idle_bytes_ > max_idle_bytes_ && idle_.size() > 1) {
    const auto oldest = directories_.find(idle_.back());
    wake(oldest->second);
    directories_.erase(oldest);
  }
}

void DirectoryHandles::wake(Directory& directory) {
  idle_bytes_ -= directory.idle_bytes;
  idle_.erase(directory.place);
}

void DirectoryHandles::forget(NodeId id) {
  const std::lock_guard lock(mutex_);
  const auto it = directories_.find(id);
  if (it == directories_.end() || it->second.handles != 0) return;
  wake(it->second);
  directories_.erase(it);
}

size_t DirectoryHandles::size() const {
  const std::lock_guard lock(mutex_);
  return handles_.size();
}

}  // namespace rsyncfs
