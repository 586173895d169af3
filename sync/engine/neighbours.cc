// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/neighbours.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {

constexpr uint64_t kFirstBudgetBytes = 1 << 20;
constexpr uint64_t kMostBudgetBytes = 64 << 20;
constexpr uint64_t kCacheParts = 8;       // of a limited cache that may be filled ahead
constexpr uint64_t kStepBytes = 4 << 20;  // looked for at once
constexpr uint64_t kPieces = 8;           // of the budget; when one is used up more is looked for
// A longer pause is the end of it. Compilers read for seconds before they need the next file.
constexpr std::chrono::seconds kScanPause{3};
constexpr unsigned kMissesOfScan = 2;     // in one directory
constexpr size_t kMaxMissed = 64;         // directories that are remembered
constexpr size_t kMaxDirectoryRests = 8;  // a ninth is found by the walk below the top

uint64_t most_budget(const EngineContext& context) {
  const uint64_t cache = context.options.cache.cache_bytes;
  return std::clamp(cache / kCacheParts, kFirstBudgetBytes, kMostBudgetBytes);
}

}  // namespace

Neighbours::Neighbours(const EngineContext& context, Found found, std::function<void()> over)
    : context_(context),
      found_(std::move(found)),
      over_(std::move(over)),
      most_bytes_(most_budget(context)),
      budget_bytes_(kFirstBudgetBytes),
      walks_(context.executor) {}

Neighbours::~Neighbours() {
  *alive_ = false;
}

// Two misses in one directory; or the first in one, while others near it are read through.
bool Neighbours::is_read_through(const FileTarget& target, Clock::time_point now) {
  std::erase_if(missed_, [now](const Missed& missed) { return now - missed.last > kScanPause; });
  auto found = std::find_if(missed_.begin(), missed_.end(),
                            [&](const Missed& missed) { return missed.directory == target.parent; });
  if (found == missed_.end()) {
    if (missed_.size() >= kMaxMissed) missed_.erase(missed_.begin());
    missed_.push_back({target.parent, 0, now});
    found = missed_.end() - 1;
  }
  found->last = now;
  return ++found->misses >= kMissesOfScan || scan_.has_value();
}

void Neighbours::note_miss(const FileTarget& target, Clock::time_point now) {
  if (scan_ && now - last_miss_ > kScanPause) tick(now);
  last_miss_ = now;
  if (!is_read_through(target, now)) return;
  const std::string directory = target.directory();
  const WalkPosition here{target.parent, target.name};
  if (!scan_) {
    scan_.emplace();
    scan_->top = directory;
    ++round_;
  } else if (target.parent != scan_->directory) {
    const std::string top = common_top(scan_->top, directory);
    // Who reads elsewhere is followed; who is only ahead of the walk is met by it.
    if (top != scan_->top || !scan_->below) scan_->below = here;
    scan_->top = top;
  }
  scan_->directory = target.parent;
  const auto same = std::find_if(scan_->directory_rests.begin(), scan_->directory_rests.end(),
                                 [&](const WalkPosition& rest) { return rest.directory == target.parent; });
  if (same != scan_->directory_rests.end()) scan_->directory_rests.erase(same);
  if (scan_->directory_rests.size() >= kMaxDirectoryRests) scan_->directory_rests.pop_front();
  scan_->directory_rests.push_back(here);
  look();
}

void Neighbours::note_read(NodeId file) {
  const uint64_t bytes = unread_.take(file);
  if (bytes == 0) return;
  last_use_.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  const uint64_t used = used_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  // The loop is woken for pieces, not for files.
  const uint64_t piece = budget_bytes_.load(std::memory_order_relaxed) / kPieces;
  if (used / piece == (used - bytes) / piece) return;
  if (use_posted_.exchange(true, std::memory_order_acq_rel)) return;
  context_.loop.post([this, alive = alive_] {
    if (!*alive) return;
    use_posted_.store(false, std::memory_order_release);
    const uint64_t budget = budget_bytes_.load(std::memory_order_relaxed);
    if (used_bytes_.load(std::memory_order_relaxed) >= budget / 2) {
      used_bytes_.store(0, std::memory_order_relaxed);
      budget_bytes_.store(std::min(2 * budget, most_bytes_), std::memory_order_relaxed);
    }
    look();
  });
}

void Neighbours::look() {
  if (looking_ || !scan_) return;
  const uint64_t budget = budget_bytes_.load(std::memory_order_relaxed);
  const uint64_t unread = unread_.bytes();
  if (unread >= budget) return;
  const bool single = !scan_->directory_rests.empty();
  if (!single && !scan_->below) return;
  WalkPosition from;
  if (single) {
    from = std::move(scan_->directory_rests.front());
    scan_->directory_rests.pop_front();
  } else {
    from = std::move(*std::exchange(scan_->below, std::nullopt));
  }
  looking_ = true;
  WalkLimits limits{scan_->top, !single, std::min(budget - unread, kStepBytes)};
  walks_.post([this, alive = alive_, round = round_, single, from = std::move(from),
               limits = std::move(limits)]() mutable {
    auto step = walk_tree(context_.replica, std::move(from), limits);
    context_.loop.post([this, alive, round, single, step = std::move(step)]() mutable {
      if (*alive) looked(single, round, std::move(step));
    });
  });
}

void Neighbours::looked(bool single, uint64_t round, WalkStep step) {
  looking_ = false;
  if (!scan_ || round != round_) return look();
  if (step.next && single) {
    scan_->directory_rests.push_front(std::move(*step.next));
  } else if (step.next && !scan_->below) {
    scan_->below = std::move(step.next);
  }
  std::erase_if(step.files, [this](const FileTarget& file) { return !unread_.add(file.node, file.size); });
  if (!step.files.empty()) found_(std::move(step.files));
  look();
}

void Neighbours::tick(Clock::time_point now) {
  if (!active()) return;
  const Clock::time_point used(Clock::duration(last_use_.load(std::memory_order_relaxed)));
  if (now - std::max(last_miss_, used) > kScanPause) end_scan();
}

void Neighbours::end_scan() {
  scan_.reset();
  missed_.clear();
  unread_.clear();
  used_bytes_.store(0, std::memory_order_relaxed);
  budget_bytes_.store(kFirstBudgetBytes, std::memory_order_relaxed);
  over_();
}

}  // namespace rsyncfs
