// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_cache.h"

namespace rsyncfs {

std::shared_ptr<const Content> ContentCache::find(NodeId node) {
  std::lock_guard lock(mutex_);
  const auto found = by_id_.find(node);
  if (found == by_id_.end()) return nullptr;
  order_.splice(order_.begin(), order_, found->second);
  return found->second->second;
}

uint64_t ContentCache::generation() const {
  std::lock_guard lock(mutex_);
  return generation_;
}

bool ContentCache::insert(NodeId node, const std::shared_ptr<const Content>& content, uint64_t generation) {
  // Destroyed after the lock is released: unmapping takes time.
  std::shared_ptr<const Content> evicted;
  std::lock_guard lock(mutex_);
  if (generation != generation_) return false;
  const auto found = by_id_.find(node);
  if (found != by_id_.end()) {
    evicted = std::exchange(found->second->second, content);
    order_.splice(order_.begin(), order_, found->second);
    return true;
  }
  if (order_.size() >= limit_) {
    by_id_.erase(order_.back().first);
    evicted = std::move(order_.back().second);
    order_.pop_back();
  }
  order_.emplace_front(node, content);
  by_id_[node] = order_.begin();
  return true;
}

void ContentCache::drop(const std::vector<NodeId>& nodes) {
  if (nodes.empty()) return;
  std::vector<std::shared_ptr<const Content>> dropped;
  std::lock_guard lock(mutex_);
  ++generation_;
  for (const NodeId node : nodes) {
    const auto found = by_id_.find(node);
    if (found == by_id_.end()) continue;
    dropped.push_back(std::move(found->second->second));
    order_.erase(found->second);
    by_id_.erase(found);
  }
}

}  // namespace rsyncfs
