// SPDX-License-Identifier: GPL-3.0-or-later
// How much read-ahead may be on the wire of one session: enough to keep the link full, and so little that a
// read which somebody waits for, and which comes behind it, waits about one more round trip. Grows while
// answers come as soon as they can, shrinks when they queue up; as TCP Vegas does it (Brakmo and Peterson,
// 1994).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "io/loop.h"

namespace rsyncfs {

// Loop thread only.
class RequestWindow {
 public:
  static constexpr uint64_t kLeastBytes = 128 * 1024;
  static constexpr uint64_t kFirstBytes = 256 * 1024;
  static constexpr uint64_t kMostBytes = 8 << 20;

  uint64_t bytes() const { return bytes_; }
  // An answer of so many bytes is complete, `age` after it was asked for. `full`: the window was what kept
  // more from being asked for.
  void answered(Clock::time_point now, Clock::duration age, uint64_t bytes, bool full) {
    if (period_began_ == Clock::time_point{}) period_began_ = now;
    if (now - period_began_ > kPeriod) {
      // Routes change. What queued up must be gone for that to be seen, or it counted as the link's own.
      period_began_ = now;
      least_ = Clock::duration::max();
      bytes_ = std::max(kLeastBytes, bytes_ / kDrainParts);
    }
    least_ = std::min(least_, age);
    const Clock::duration base = least_;
    if (age > 2 * base + kSlack) {
      // By an eighth in each round.
      bytes_ = std::max(kLeastBytes, bytes_ - std::min(bytes_, bytes) / kShrinkParts);
    } else if (full && age < base + base / 2 + kSlack) {
      bytes_ = std::min(kMostBytes, bytes_ + bytes);
    }
  }

 private:
  static constexpr uint64_t kShrinkParts = 8;
  static constexpr std::chrono::milliseconds kSlack{10};  // what a server and a loop need by themselves
  static constexpr uint64_t kDrainParts = 4;
  static constexpr std::chrono::seconds kPeriod{30};

  uint64_t bytes_ = kFirstBytes;
  Clock::duration least_ = Clock::duration::max();
  Clock::time_point period_began_{};
};

}  // namespace rsyncfs
