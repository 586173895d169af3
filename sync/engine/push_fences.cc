// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_fences.h"

#include <chrono>

namespace rsyncfs {

namespace {
// No list is that old when it is brought in.
constexpr std::chrono::hours kForgetAfter{1};
constexpr size_t kForgetAbove = 10'000;
constexpr int kMaxDepth = 4096;
}  // namespace

void PushFences::begin(const PushBatch& batch) {
  const bool moves = batch.action == PushAction::kMove || batch.action == PushAction::kRenameDirectory;
  const std::lock_guard lock(mutex_);
  for (const PushStep& step : batch.steps) {
    if (step.parent != 0) touched_.insert(step.parent);
    if (step.from_parent != 0) touched_.insert(step.from_parent);
    for (const Binding& other : step.other_names) touched_.insert(other.parent);
    touched_.insert(step.node);
    if (moves) moved_.insert(step.node);
  }
}

void PushFences::end() {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  for (const NodeId node : touched_) ended_[node] = now;
  touched_.clear();
  moved_.clear();
  if (ended_.size() > kForgetAbove)
    std::erase_if(ended_, [&](const auto& entry) { return now - entry.second > kForgetAfter; });
}

bool PushFences::stale(NodeId directory, Clock::time_point list_began) const {
  const std::lock_guard lock(mutex_);
  if (touched_.contains(directory)) return true;
  const auto found = ended_.find(directory);
  if (found != ended_.end() && found->second >= list_began) return true;
  return !moved_.empty() && below_moved(directory);
}

bool PushFences::below_moved(NodeId directory) const {
  for (int depth = 0; directory != kRootNode && depth < kMaxDepth; ++depth) {
    if (moved_.contains(directory)) return true;
    const auto names = pending_.base_names_of(directory, 1);
    if (!names || names->empty()) return false;
    directory = names->front().parent;
  }
  return false;
}

}  // namespace rsyncfs
