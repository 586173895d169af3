// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/growths.h"

namespace rsyncfs {

std::optional<bool> Growths::grew(NodeId node, const FileVersion& version) const {
  const std::lock_guard lock(mutex_);
  const auto found = answers_.find(node);
  if (found == answers_.end() || found->second.version != version) return std::nullopt;
  return found->second.grew;
}

void Growths::forget(NodeId node) {
  const std::lock_guard lock(mutex_);
  answers_.erase(node);
}

void Growths::settle(NodeId node, const FileVersion& version, bool grew) {
  const std::lock_guard lock(mutex_);
  if (answers_.size() >= kMaxAnswers) answers_.clear();
  answers_[node] = {version, grew};
}

}  // namespace rsyncfs
