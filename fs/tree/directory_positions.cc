// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/directory_positions.h"

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

std::shared_ptr<DirectoryNames> DirectoryPositions::of(NodeId id) {
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = directories_.try_emplace(id);
  Directory& directory = at->second;
  if (fresh) {
    directory.names = std::make_shared<DirectoryNames>();
    directory.bytes = kOverheadBytes;
    directory.place = order_.insert(order_.begin(), id);
    bytes_ += directory.bytes;
  } else {
    put_first(directory);
  }
  return directory.names;
}

std::vector<NodeId> DirectoryPositions::keep(NodeId id, const std::shared_ptr<DirectoryNames>& names,
                                             size_t bytes) {
  std::vector<NodeId> gone;
  const std::lock_guard lock(mutex_);
  const auto found = directories_.find(id);
  // Forgotten meanwhile, or given up for others: what has just been given has positions that nobody knows.
  if (found == directories_.end() || found->second.names != names) {
    gone.push_back(id);
    return gone;
  }
  Directory& directory = found->second;
  bytes_ -= directory.bytes;
  directory.bytes = kOverheadBytes + bytes;
  bytes_ += directory.bytes;
  put_first(directory);
  while (bytes_ > max_bytes_ && order_.size() > 1) {
    gone.push_back(order_.back());
    erase(directories_.find(order_.back()));
  }
  return gone;
}

void DirectoryPositions::put_first(Directory& directory) {
  order_.splice(order_.begin(), order_, directory.place);
}

void DirectoryPositions::erase(Directories::iterator directory) {
  bytes_ -= directory->second.bytes;
  order_.erase(directory->second.place);
  directories_.erase(directory);
}

void DirectoryPositions::forget(NodeId id) {
  const std::lock_guard lock(mutex_);
  const auto found = directories_.find(id);
  if (found != directories_.end()) erase(found);
}

size_t DirectoryPositions::size() const {
  const std::lock_guard lock(mutex_);
  return directories_.size();
}

}  // namespace rsyncfs
