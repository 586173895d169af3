// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/dirty_registry.h"

#include <algorithm>

namespace rsyncfs {

void DirtyRegistry::set_layers(NodeId node, bool has_layers) {
  std::lock_guard lock(mutex_);
  if (has_layers) {
    entries_[node].has_layers = true;
    return;
  }
  const auto entry = entries_.find(node);
  if (entry == entries_.end()) return;
  entry->second.has_layers = false;
  if (entry->second.file == nullptr) entries_.erase(entry);
}

bool DirtyRegistry::has_layers(NodeId node) const {
  std::lock_guard lock(mutex_);
  const auto entry = entries_.find(node);
  return entry != entries_.end() && entry->second.has_layers;
}

std::shared_ptr<DirtyFile> DirtyRegistry::file(NodeId node) {
  std::lock_guard lock(mutex_);
  return object(node, entries_[node]);
}

std::shared_ptr<DirtyFile> DirtyRegistry::dirty_file(NodeId node) {
  std::lock_guard lock(mutex_);
  const auto entry = entries_.find(node);
  if (entry == entries_.end() || !entry->second.has_layers) return nullptr;
  return object(node, entry->second);
}

std::shared_ptr<DirtyFile> DirtyRegistry::object(NodeId node, Entry& entry) {
  if (entry.file != nullptr) return entry.file;
  auto file = std::make_shared<DirtyFile>(store_, node);
  entry.file = file;
  if (++objects_ > tidy_at_) tidy();
  return file;
}

// Nobody can take hold of an object while the registry is locked, so one that only the registry holds stays
// that way.
void DirtyRegistry::tidy() {
  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& entry = at->second;
    if (entry.file != nullptr && entry.file.use_count() == 1 && !entry.file->sync_failed) {
      entry.file.reset();
      --objects_;
    }
    at = entry.file == nullptr && !entry.has_layers ? entries_.erase(at) : std::next(at);
  }
  tidy_at_ = std::max(kMaxIdle, 2 * objects_);
}

void DirtyRegistry::dropped(NodeId node) {
  std::shared_ptr<DirtyFile> file;
  {
    std::lock_guard lock(mutex_);
    const auto entry = entries_.find(node);
    if (entry == entries_.end()) return;
    entry->second.has_layers = false;
    file = entry->second.file;
    if (file == nullptr) entries_.erase(entry);
  }
  if (file != nullptr) file->drop();
}

std::vector<NodeId> DirtyRegistry::nodes() const {
  std::vector<NodeId> out;
  std::lock_guard lock(mutex_);
  for (const auto& [node, entry] : entries_) {
    if (entry.has_layers) out.push_back(node);
  }
  return out;
}

}  // namespace rsyncfs
