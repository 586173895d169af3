// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/forget_queue.h"

#include <algorithm>

#include "io/base/log.h"

namespace rsyncfs {

void ForgetQueue::add(NodeId node) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(node);
  if (scheduled_) return;
  scheduled_ = true;
  strand_.post([this] { run_batch(); });
}

void ForgetQueue::run_batch() {
  std::vector<NodeId> batch;
  {
    const std::lock_guard lock(mutex_);
    const size_t count = std::min(kForgetBatch, waiting_.size());
    batch.assign(waiting_.end() - static_cast<ptrdiff_t>(count), waiting_.end());
    waiting_.resize(waiting_.size() - count);
    if (waiting_.empty()) waiting_.shrink_to_fit();
  }
  // Looked up again meanwhile: its next last lookup brings it here again.
  std::erase_if(batch, [this](NodeId node) { return lookups_.count(node) != 0; });
  if (!batch.empty()) {
    if (const Result<void> done = replica_.forget_orphans(batch); !done) {
      log_warn("forgetting nodes: " + done.error().message());
    }
  }
  const std::lock_guard lock(mutex_);
  scheduled_ = !waiting_.empty();
  if (scheduled_) strand_.post([this] { run_batch(); });
}

}  // namespace rsyncfs
