// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/recent_failures.h"

#include <algorithm>

namespace rsyncfs {

void RecentFailures::add(NodeId file, uint64_t begin, uint64_t end, const Error& error, Time now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(failures_, [now](const auto& entry) { return entry.second.until <= now; });
  any_.store(true);
  const auto known = failures_.find(file);
  if (known == failures_.end()) {
    if (failures_.size() < kMaxRecentFailures) {
      failures_.emplace(file, Failure{begin, end, error, now + kFailureStands});
    }
    return;
  }
  // One read-ahead is several reads side by side: they count as one range.
  Failure& failure = known->second;
  failure.begin = std::min(failure.begin, begin);
  failure.end = std::max(failure.end, end);
  failure.error = error;
  failure.until = now + kFailureStands;
}

std::optional<Error> RecentFailures::find(NodeId file, uint64_t begin, uint64_t end, Time now) const {
  if (!any_.load()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto known = failures_.find(file);
  if (known == failures_.end() || known->second.until <= now) return std::nullopt;
  if (begin >= known->second.end || end <= known->second.begin) return std::nullopt;
  return known->second.error;
}

}  // namespace rsyncfs
