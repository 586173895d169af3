// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/seen_nodes.h"

namespace rsyncfs {

bool SeenNodes::note(NodeId node) {
  std::lock_guard lock(mutex_);
  if (changing_.contains(node)) return false;
  if (overflow_) return true;
  seen_.insert(node);
  if (seen_.size() > kMaxSeen) {
    overflow_ = true;
    seen_.clear();
  }
  return true;
}

bool SeenNodes::may_change(NodeId node) {
  std::lock_guard lock(mutex_);
  if (overflow_ || seen_.contains(node)) return false;
  changing_.insert(node);
  return true;
}

void SeenNodes::transaction_over() {
  std::lock_guard lock(mutex_);
  changing_.clear();
}

void SeenNodes::forget(NodeId node) {
  std::lock_guard lock(mutex_);
  seen_.erase(node);
}

}  // namespace rsyncfs
