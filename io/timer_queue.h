// SPDX-License-Identifier: GPL-3.0-or-later
// The timers of one loop, in order of time; both engines wait no longer than next_due().
#pragma once

#include <chrono>
#include <optional>
#include <unordered_map>
#include <vector>

#include "io/loop.h"

namespace rsyncfs {

// For the loop thread. Timers due at the same instant fire in the order in which they were added.
class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  // A delay below zero counts as zero; one beyond kMaxDelay as kMaxDelay.
  TimerId add(Clock::time_point now, std::chrono::nanoseconds delay, Task task);
  void cancel(TimerId timer);
  // The earliest timer, if there is one.
  std::optional<Clock::time_point> next_due();
  // Runs what is due at `now`, except timers added meanwhile: those wait for the next call, so that a timer
  // which starts itself again cannot keep the loop from its descriptors. Stops early when `stop` becomes
  // true.
  void run_due(Clock::time_point now, const std::atomic<bool>& stop);
  void clear();
  size_t size() const { return tasks_.size(); }

  static constexpr std::chrono::hours kMaxDelay{24 * 365 * 100};

 private:
  struct Entry {
    Clock::time_point due;
    TimerId id;
    bool operator<(const Entry& other) const { return due != other.due ? due > other.due : id > other.id; }
  };
  void drop_cancelled();

  std::vector<Entry> heap_;  // earliest first; keeps cancelled entries until they surface or are too many
  std::unordered_map<TimerId, Task> tasks_;
  TimerId last_id_ = 0;
};

}  // namespace rsyncfs
