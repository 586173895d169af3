// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/pin_keeper.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

void PinKeeper::start() {
  stopped_ = false;
  everything_ = true;
  look_later(kDelay);
}

void PinKeeper::stop() {
  stopped_ = true;
  if (timer_ != 0) loop_.cancel_timer(std::exchange(timer_, 0));
  if (const auto hydration = std::exchange(hydration_, nullptr)) hydration->cancel();
}

void PinKeeper::note_changes(const std::vector<NameChange>& changes) {
  if (stopped_ || everything_ || context_.replica.cache().pin_count() == 0) return;
  for (const NameChange& change : changes) {
    if (change.kind == NameChange::Kind::kRemoved) continue;
    changed_.insert(change.node);
  }
  if (changed_.size() > kMaxNoted) {
    everything_ = true;
    changed_.clear();
  }
  if (everything_ || !changed_.empty()) look_later(kDelay);
}

void PinKeeper::look_later(std::chrono::milliseconds delay) {
  const auto due = Clock::now() + delay;
  if (stopped_) return;
  if (timer_ != 0) {
    if (due_ <= due) return;
    loop_.cancel_timer(timer_);
  }
  due_ = due;
  timer_ = loop_.run_after(delay, [this] {
    timer_ = 0;
    look();
  });
}

void PinKeeper::look() {
  if (stopped_ || working_) return;
  // The timer of long ago, with nothing new.
  const bool everything = std::exchange(everything_, false) || changed_.empty();
  const auto noted = std::exchange(changed_, {});
  if (context_.replica.cache().pin_count() == 0) return look_later(kLookEvery);
  working_ = true;
  context_.offload.run(
      [context = context_, everything, changed = std::vector<NodeId>(noted.begin(), noted.end())] {
        return places(context, everything, changed);
      },
      [this](const Result<std::vector<Place>>& found) {
        if (stopped_) return;
        if (!found) log_warn("looking at what is pinned: " + found.error().message());
        bring(found ? *found : std::vector<Place>());
      });
}

Result<std::vector<PinKeeper::Place>> PinKeeper::places(const WalkContext& context, bool everything,
                                                        const std::vector<NodeId>& changed) {
  const CacheSpace& cache = context.replica.cache();
  const auto pinned = everything ? cache.pinned_nodes() : cache.pinned_among(changed);
  if (!pinned) return pinned.error();
  std::vector<Place> out;
  for (const NodeId id : *pinned) {
    Result<Node> node = context.replica.node(id);
    Result<std::string> path = context.replica.path_of(id);
    // Gone meanwhile.
    if (!node || !path) continue;
    const Result<ContentState> content = context.replica.content_state(id);
    if (!S_ISDIR(node->attr.mode) && (!S_ISREG(node->attr.mode) || node->attr.size == 0)) continue;
    if ((content && content->complete) || (node->differences & kAbsentAtSource) != 0) continue;
    out.push_back({std::move(node.value()), std::move(path.value())});
  }
  return out;
}

void PinKeeper::bring(const std::vector<Place>& places) {
  failed_ = false;
  Hydration::Listener listener;
  listener.failed = [this](const std::string& path, const Error& error) { failed(path, error); };
  listener.over = [this](const JobProgress&) {
    end_round(failed_ ? std::chrono::milliseconds(kRetry) : std::chrono::milliseconds(kLookEvery));
  };
  hydration_ = std::make_shared<Hydration>(context_, kMaxInFlight, std::move(listener));
  for (const Place& place : places) hydration_->add_node(place.node, place.path);
  const auto hydration = hydration_;  // over() lets go of it
  hydration->start();
}

// Where there is no room it would come again and again only to be dropped.
void PinKeeper::failed(const std::string& path, const Error& error) {
  if (!std::exchange(failed_, true)) log_warn("pinned and not here: " + path + ": " + error.message());
  if (error.os_errno() != ENOSPC || !hydration_) return;
  hydration_->cancel();
  end_round(kLookEvery);
}

void PinKeeper::end_round(std::chrono::milliseconds pause) {
  working_ = false;
  hydration_ = nullptr;
  look_later(changed_.empty() ? pause : kDelay);
}

}  // namespace rsyncfs
