// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/eager_refresh.h"

#include <algorithm>

#include "io/base/log.h"

namespace rsyncfs {

namespace {

// A file that was read so long ago, or less, will be read again.
constexpr std::chrono::minutes kHotFor{10};
constexpr size_t kMaxReads = 10'000;  // remembered; the others count as cold
// The rest of a large change is brought when it is read.
constexpr size_t kMaxQueued = 256;
constexpr size_t kMaxUnderWay = 2;
constexpr uint64_t kMaxEagerBytes = uint64_t{1} << 30;  // of one file

}  // namespace

void EagerRefresh::note_read(NodeId node, Clock::time_point now) {
  if (reads_.size() >= kMaxReads) {
    std::erase_if(reads_, [now](const auto& read) { return now - read.second > kHotFor / 2; });
    if (reads_.size() >= kMaxReads) reads_.clear();
  }
  reads_[node] = now;
}

bool EagerRefresh::is_hot(NodeId node, Clock::time_point now) {
  if (is_pinned(node) || is_in_use(node)) return true;
  const auto read = reads_.find(node);
  return read != reads_.end() && now - read->second <= kHotFor;
}

void EagerRefresh::on_changes(std::vector<NameChange> changes) {
  const auto now = Clock::now();
  for (const NameChange& change : changes) {
    if (change.kind != NameChange::Kind::kReplaced || queue_.size() >= kMaxQueued) continue;
    if (!is_hot(change.old_node, now)) continue;
    queue_.push_back(change.node);
    reads_[change.node] = now;
  }
  others_.on_changes(std::move(changes));
  next();
}

void EagerRefresh::next() {
  while (!stopped_ && under_way_ < kMaxUnderWay && !queue_.empty()) {
    const NodeId node = queue_.front();
    queue_.pop_front();
    const auto basis = replica_.basis(node);
    const auto now = replica_.node(node);
    if (!basis || !*basis || !now || now->orphan || now->attr.size > kMaxEagerBytes) continue;
    ++under_way_;
    hydrate_(node, [this, node](const Result<void>& done) {
      --under_way_;
      if (!done) log_debug("not brought up to date: " + std::to_string(node) + ": " + done.error().message());
      next();
    });
  }
}

}  // namespace rsyncfs
