// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/directories_in_use.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace rsyncfs {

namespace {

int64_t in_ms(Clock::time_point at) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

}  // namespace

bool DirectoriesInUse::touch(NodeId directory, Clock::time_point now) {
  const int64_t now_ms = in_ms(now);
  {
    const std::shared_lock lock(mutex_);
    const auto found = used_at_ms_.find(directory);
    if (found != used_at_ms_.end()) return now_ms - found->second->exchange(now_ms) >= kRest.count();
  }
  const std::unique_lock lock(mutex_);
  // Those who are busy with so many of them get what the next list of the tree brings.
  if (used_at_ms_.size() >= kMost) return false;
  const auto [at, is_new] = used_at_ms_.try_emplace(directory);
  if (!is_new) return false;
  at->second = std::make_unique<std::atomic<int64_t>>(now_ms);
  return true;
}

std::vector<NodeId> DirectoriesInUse::in_use(Clock::time_point now, size_t most) {
  const int64_t oldest_ms = in_ms(now - kLinger);
  std::vector<std::pair<int64_t, NodeId>> found;
  {
    const std::unique_lock lock(mutex_);
    std::erase_if(used_at_ms_, [&](const auto& one) { return one.second->load() < oldest_ms; });
    found.reserve(used_at_ms_.size());
    for (const auto& [node, at] : used_at_ms_) found.emplace_back(at->load(), node);
  }
  const size_t count = std::min(most, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end(),
                    std::greater<>());
  std::vector<NodeId> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(found[i].second);
  return out;
}

size_t DirectoriesInUse::size() const {
  const std::shared_lock lock(mutex_);
  return used_at_ms_.size();
}

}  // namespace rsyncfs
