// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/recent_findings.h"

#include <unordered_set>
#include <utility>

namespace rsyncfs {

namespace {
constexpr size_t kMaxKnown = 8'192;
}  // namespace

std::vector<std::string> RecentFindings::with_expected(std::vector<std::string> paths) const {
  std::unordered_set<std::string> asked(paths.begin(), paths.end());
  for (const std::string& path : expected_) {
    if (asked.insert(path).second) paths.push_back(path);
  }
  return paths;
}

void RecentFindings::put(const std::string& path, RemoteFinding finding, Clock::time_point seen) {
  if (known_.size() >= kMaxKnown)
    std::erase_if(known_, [&](const auto& one) { return seen - one.second.at > kRecent; });
  if (known_.size() < kMaxKnown) known_[path] = {std::move(finding), seen};
}

std::optional<std::vector<RemoteFinding>> RecentFindings::find(const std::vector<std::string>& paths,
                                                               Clock::time_point now) const {
  std::vector<RemoteFinding> out;
  for (const std::string& path : paths) {
    const auto known = known_.find(path);
    if (known == known_.end() || now - known->second.at > kRecent) return std::nullopt;
    out.push_back(known->second.finding);
  }
  return out;
}

void RecentFindings::forget(const PushBatch& batch) {
  switch (batch.action) {
    case PushAction::kMove:
    case PushAction::kRenameDirectory:
    case PushAction::kReplace:  // and what is below
      return clear();
    default:
      for (const PushStep& step : batch.steps) {
        known_.erase(step.path);
        for (const std::string& other : step.other_paths) known_.erase(other);
      }
  }
}

}  // namespace rsyncfs
