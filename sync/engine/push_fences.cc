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

void PushFences::touch(NodeId directory, const std::string& name) {
  if (directory == 0) return;
  touched_.insert(directory);
  names_.emplace(directory, name);
}

void PushFences::begin(const PushBatch& batch) {
  const bool moves = batch.action == PushAction::kMove || batch.action == PushAction::kRenameDirectory;
  const std::lock_guard lock(mutex_);
  for (const PushStep& step : batch.steps) {
    touch(step.parent, step.name);
    touch(step.from_parent, step.from_name);
    for (const Binding& other : step.other_names) touch(other.parent, other.name);
    touched_.insert(step.node);
    if (moves) moved_.insert(step.node);
  }
}

void PushFences::end() {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  if (touched_.empty()) return;
  last_end_ = now;
  for (const NodeId node : touched_) ended_[node] = now;
  for (const NodeId node : moved_) ended_moves_[node] = now;
  while (!names_.empty()) ended_names_[std::move(names_.extract(names_.begin()).value())] = now;
  touched_.clear();
  moved_.clear();
  const auto old = [&](const auto& entry) { return now - entry.second > kForgetAfter; };
  if (ended_.size() > kForgetAbove) std::erase_if(ended_, old);
  if (ended_moves_.size() > kForgetAbove) std::erase_if(ended_moves_, old);
  if (ended_names_.size() > kForgetAbove) std::erase_if(ended_names_, old);
}

bool PushFences::stale(NodeId directory, Clock::time_point list_began) const {
  const std::lock_guard lock(mutex_);
  if (touched_.contains(directory)) return true;
  const auto found = ended_.find(directory);
  if (found != ended_.end() && found->second >= list_began) return true;
  return below_moved(directory, list_began);
}

bool PushFences::stale_name(NodeId directory, std::string_view name, Clock::time_point list_began) const {
  const std::lock_guard lock(mutex_);
  if (names_.contains(Name(directory, name))) return true;
  const auto found = ended_names_.find(Name(directory, name));
  return found != ended_names_.end() && found->second >= list_began;
}

bool PushFences::any_since(Clock::time_point list_began) const {
  const std::lock_guard lock(mutex_);
  return !touched_.empty() || last_end_ >= list_began;
}

bool PushFences::below_moved(NodeId directory, Clock::time_point list_began) const {
  if (moved_.empty() && (ended_moves_.empty() || last_end_ < list_began)) return false;
  for (int depth = 0; directory != kRootNode && depth < kMaxDepth; ++depth) {
    const auto ended = ended_moves_.find(directory);
    if (moved_.contains(directory) || (ended != ended_moves_.end() && ended->second >= list_began))
      return true;
    const auto names = pending_.base_names_of(directory, 1);
    if (!names || names->empty()) return false;
    directory = names->front().parent;
  }
  return false;
}

}  // namespace rsyncfs
