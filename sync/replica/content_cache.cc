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
  std::vector<std::shared_ptr<const Content>> evicted;
  std::lock_guard lock(mutex_);
  if (generation != generation_) return false;
  const auto found = by_id_.find(node);
  if (found != by_id_.end()) {
    bytes_ -= found->second->second->size();
    evicted.push_back(std::exchange(found->second->second, content));
    order_.splice(order_.begin(), order_, found->second);
  } else {
    order_.emplace_front(node, content);
    by_id_[node] = order_.begin();
  }
  bytes_ += content->size();
  evict(evicted);
  return true;
}

void ContentCache::evict(std::vector<std::shared_ptr<const Content>>& out) {
  while (order_.size() > 1 && (order_.size() > limit_ || bytes_ > limit_bytes_)) {
    by_id_.erase(order_.back().first);
    bytes_ -= order_.back().second->size();
    out.push_back(std::move(order_.back().second));
    order_.pop_back();
  }
}

void ContentCache::drop(const std::vector<NodeId>& nodes) {
  if (nodes.empty()) return;
  std::vector<std::shared_ptr<const Content>> dropped;
  std::lock_guard lock(mutex_);
  ++generation_;
  for (const NodeId node : nodes) {
    const auto found = by_id_.find(node);
    if (found == by_id_.end()) continue;
    bytes_ -= found->second->second->size();
    dropped.push_back(std::move(found->second->second));
    order_.erase(found->second);
    by_id_.erase(found);
  }
}

}  // namespace rsyncfs
