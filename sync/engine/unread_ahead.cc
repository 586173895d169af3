// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/unread_ahead.h"

namespace rsyncfs {

bool UnreadAhead::add(NodeId file, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto [place, added] = files_.try_emplace(file, bytes + kAheadOverheadBytes);
  if (!added) return false;
  bytes_.fetch_add(place->second, std::memory_order_relaxed);
  count_.store(files_.size(), std::memory_order_release);
  return true;
}

uint64_t UnreadAhead::take(NodeId file) {
  if (count_.load(std::memory_order_acquire) == 0) return 0;
  const std::lock_guard lock(mutex_);
  const auto found = files_.find(file);
  if (found == files_.end()) return 0;
  const uint64_t bytes = found->second;
  files_.erase(found);
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  count_.store(files_.size(), std::memory_order_release);
  return bytes;
}

void UnreadAhead::clear() {
  const std::lock_guard lock(mutex_);
  files_.clear();
  bytes_.store(0, std::memory_order_relaxed);
  count_.store(0, std::memory_order_release);
}

}  // namespace rsyncfs
