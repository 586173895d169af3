// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/disk_usage.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace rsyncfs {
namespace {

constexpr uint64_t kStatUnit = 512;

// The numbers of the slabs or block files that are in a directory.
template <class Visit>
void each_file(const std::filesystem::path& directory, Visit visit) {
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(directory, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const uint64_t number = file_number(entry->path().filename().native());
    if (number != 0) visit(number);
  }
}

}  // namespace

void DiskUsage::changed(File file) {
  std::lock_guard lock(mutex_);
  changed_.insert(file);
}

void DiskUsage::block_file_removed(uint64_t id) {
  std::lock_guard lock(mutex_);
  changed_.erase(id << 1U);
  removed_.push_back(id << 1U);
}

uint64_t DiskUsage::bytes() {
  const std::lock_guard one_looks(look_mutex_);
  if (!std::exchange(looked_at_all_, true)) look_at_all();
  std::unordered_set<File> files;
  std::vector<File> removed;
  {
    std::lock_guard lock(mutex_);
    files.swap(changed_);
    removed.swap(removed_);
  }
  for (const File file : files) look_at(file);
  for (const File file : removed) forget(file);
  return bytes_;
}

void DiskUsage::look_at_all() {
  each_file(directory_.slabs(), [this](uint64_t id) { slab_changed(id); });
  std::error_code failure;
  for (std::filesystem::directory_iterator shard(directory_.blocks(), failure), end; !failure && shard != end;
       shard.increment(failure)) {
    each_file(shard->path(), [this](uint64_t id) { block_file_changed(id); });
  }
}

void DiskUsage::look_at(File file) {
  const bool slab = (file & 1U) != 0;
  const std::string path = slab ? directory_.slab(file >> 1U) : directory_.block_file(file >> 1U);
  forget(file);
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return;
  const uint64_t now = static_cast<uint64_t>(status.st_blocks) * kStatUnit;
  known_.emplace(file, now);
  bytes_ += now;
}

void DiskUsage::forget(File file) {
  const auto known = known_.find(file);
  if (known == known_.end()) return;
  bytes_ -= known->second;
  known_.erase(known);
}

}  // namespace rsyncfs
