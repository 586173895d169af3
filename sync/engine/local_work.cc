// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/local_work.h"

#include <mutex>

namespace rsyncfs {

bool LocalWork::knows(NodeId node, Clock::time_point since) const {
  const auto found = changed_.find(node);
  return found != changed_.end() && found->second > since;
}

void LocalWork::note(NodeId node, Clock::time_point now) {
  {
    const std::shared_lock lock(mutex_);
    if (now < everything_until_ || knows(node, now - kNotedAgain)) return;
  }
  const std::unique_lock lock(mutex_);
  if (changed_.size() >= kMost) {
    std::erase_if(changed_, [&](const auto& one) { return one.second <= now - kLately; });
    if (changed_.size() >= kMost) {
      everything_until_ = now + kLately;
      changed_.clear();
      return;
    }
  }
  changed_[node] = now;
}

bool LocalWork::has(const Node& node, Clock::time_point now) const {
  const std::shared_lock lock(mutex_);
  return now < everything_until_ || knows(node.id, now - kLately) || knows(node.ino, now - kLately);
}

}  // namespace rsyncfs
