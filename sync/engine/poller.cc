// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/poller.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {

using std::chrono::milliseconds;

// While the source is away, or a list is under way.
constexpr milliseconds kLookAgain{1'000};
constexpr milliseconds kShortestHold{1'000};

}  // namespace

Poller::Poller(const EngineContext& context, const SessionPool& pool, Lister& lister)
    : context_(context), pool_(pool), lister_(lister), hold_(off() ? kLongestPollInterval : kShortestHold) {}

Poller::~Poller() {
  stop();
  *alive_ = false;
}

void Poller::touch(NodeId directory) {
  if (off() || !in_use_.touch(directory, Clock::now())) return;
  if (touched_.exchange(true, std::memory_order_acq_rel)) return;
  context_.loop.post([this, alive = alive_] {
    if (!*alive) return;
    touched_.store(false, std::memory_order_release);
    used_again_ = true;
    schedule();
  });
}

void Poller::start() {
  if (off()) return;
  started_ = true;
  last_round_ = Clock::now();
  schedule();
}

void Poller::stop() {
  started_ = false;
  if (timer_ != 0) context_.loop.cancel_timer(std::exchange(timer_, 0));
}

milliseconds Poller::tree_every() const {
  return tree_interval(context_.options.poll, lister_.tree_cost(), in_use_.size() > 0);
}

void Poller::describe(SyncerStatus& status) const {
  if (off()) return;
  status.directories_in_use = in_use_.size();
  const milliseconds directories = directories_interval(context_.options.poll, lister_.directories_cost());
  status.directories_every_ms = static_cast<uint64_t>(directories.count());
  status.tree_every_ms = static_cast<uint64_t>(tree_every().count());
}

// From the end of the last one on: one that takes long is not begun anew for ever.
Clock::time_point Poller::next_sweep() const {
  return lister_.tree_done_at() + tree_every();
}

// A directory in use is listed again by itself, so who uses it again changes something only where that would
// be long before its turn, or where only those used last have a turn.
milliseconds Poller::hold() const {
  const ListCost& cost = lister_.directories_cost();
  const milliseconds interval = directories_interval(context_.options.poll, cost);
  if (interval - least_gap(cost) > DirectoriesInUse::kRest) return kShortestHold;
  if (in_use_.size() <= kMaxDirectories) return DirectoriesInUse::kLongestHold;
  return std::clamp<milliseconds>(interval, kShortestHold, DirectoriesInUse::kLongestHold);
}

void Poller::schedule() {
  if (!started_) return;
  hold_.store(hold(), std::memory_order_relaxed);
  const ListCost& cost = lister_.directories_cost();
  next_round_ = last_round_ + directories_interval(context_.options.poll, cost);
  if (used_again_) next_round_ = std::min(next_round_, last_round_ + least_gap(cost));
  Clock::time_point due = lister_.tree_fresh() ? next_sweep() : Clock::time_point::max();
  if (in_use_.size() > 0) due = std::min(due, next_round_);
  if (due != Clock::time_point::max()) schedule_at(due);
}

void Poller::schedule_at(Clock::time_point due) {
  if (timer_ != 0) {
    if (due_ <= due) return;
    context_.loop.cancel_timer(timer_);
  }
  due_ = due;
  const auto wait = std::max<std::chrono::nanoseconds>(due - Clock::now(), milliseconds(1));
  timer_ = context_.loop.run_after(wait, [this] {
    timer_ = 0;
    wake();
  });
}

void Poller::wake() {
  const auto now = Clock::now();
  if (pool_.link().down()) return schedule_at(now + kLookAgain);
  if (in_use_.size() > 0 && now >= next_round_) {
    const auto interval = directories_interval(context_.options.poll, lister_.directories_cost());
    last_round_ = now;
    // What was listed a moment ago, for whatever reason, need not be.
    const milliseconds longest = std::exchange(used_again_, false) ? DirectoriesInUse::kRest : interval;
    round(now, std::min(interval, longest) / 2);
  }
  if (lister_.tree_fresh() && now >= next_sweep()) {
    if (lister_.sweeping()) return schedule_at(now + kLookAgain);
    lister_.sweep();
  }
  lister_.pump();
  schedule();
}

void Poller::round(Clock::time_point now, milliseconds older_than) {
  std::vector<NodeId> directories = in_use_.in_use(now, kMaxDirectories);
  add_pending(directories);
  for (const NodeId node : directories) {
    if (now - lister_.listed_at(node) < older_than) continue;
    auto place = context_.replica.pending().remote_place(node);
    if (place) lister_.refresh(node, std::move(place->path));
  }
}

// Where what is here waits to be pushed, others may be at work, too.
void Poller::add_pending(std::vector<NodeId>& directories) const {
  const PendingChanges& pending = context_.replica.pending();
  const PendingSummary summary = pending.summary();
  const auto add = [&](NodeId directory) {
    if (std::find(directories.begin(), directories.end(), directory) == directories.end())
      directories.push_back(directory);
  };
  if (summary.names > 0) {
    if (const auto names = pending.names(0, kMaxPending)) {
      for (const PendingName& name : *names) {
        if (!context_.local_only.has(name)) add(name.parent);
      }
    }
  }
  if (summary.nodes == 0) return;
  const auto nodes = pending.nodes(0, kMaxPending);
  if (!nodes) return;
  for (const PendingNode& node : *nodes) {
    const auto names = pending.base_names_of(node.local.id, 1);
    if (names && !names->empty()) add(names->front().parent);
  }
}

}  // namespace rsyncfs
