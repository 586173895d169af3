// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/timer_queue.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {
// Cancelled entries are swept out when they outnumber the living ones and this many.
constexpr size_t kSweepAbove = 64;
}  // namespace

TimerId TimerQueue::add(Clock::time_point now, std::chrono::nanoseconds delay, Task task) {
  const std::chrono::nanoseconds longest = kMaxDelay;
  const auto wait = std::clamp(delay, std::chrono::nanoseconds::zero(), longest);
  const TimerId id = ++last_id_;
  tasks_.emplace(id, std::move(task));
  heap_.push_back({now + wait, id});
  std::push_heap(heap_.begin(), heap_.end());
  return id;
}

void TimerQueue::cancel(TimerId timer) {
  const auto found = tasks_.find(timer);
  if (found == tasks_.end()) return;
  // The task is destroyed last: what it captured may come back to this queue.
  const Task dropped = std::move(found->second);
  tasks_.erase(found);
  if (heap_.size() > 2 * tasks_.size() + kSweepAbove) {
    std::erase_if(heap_, [this](const Entry& entry) { return !tasks_.contains(entry.id); });
    std::make_heap(heap_.begin(), heap_.end());
  }
}

void TimerQueue::drop_cancelled() {
  while (!heap_.empty() && !tasks_.contains(heap_.front().id)) {
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
  }
}

std::optional<Clock::time_point> TimerQueue::next_due() {
  drop_cancelled();
  if (heap_.empty()) return std::nullopt;
  return heap_.front().due;
}

void TimerQueue::run_due(Clock::time_point now, const std::atomic<bool>& stop) {
  const TimerId newest = last_id_;
  while (!stop.load(std::memory_order_relaxed)) {
    const auto due = next_due();
    if (!due || *due > now || heap_.front().id > newest) return;
    const auto found = tasks_.find(heap_.front().id);
    Task task = std::move(found->second);
    tasks_.erase(found);
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
    task();
  }
}

void TimerQueue::clear() {
  heap_.clear();
  const auto dropped = std::exchange(tasks_, {});
}

}  // namespace rsyncfs
