// SPDX-License-Identifier: GPL-3.0-or-later
// Many deletions at once are taken for an accident until somebody says that they are meant.
#pragma once

#include <cstdint>

#include "io/loop.h"

namespace rsyncfs {

class DeletionBrake {
 public:
  // `most`: so many in a row are believed; 0: any number.
  explicit DeletionBrake(uint64_t most) : most_(most) {}

  // Whether so many more would be too many. Nothing is counted.
  bool holds(Clock::time_point now, uint64_t more) const;
  // So many may be pending before it is worth counting them.
  uint64_t room(Clock::time_point now) const;
  void note_deleted(Clock::time_point now, uint64_t count);
  // Everything that is pending is meant, until none is.
  void release() { released_ = true; }
  void note_none_pending() { released_ = false; }

 private:
  uint64_t in_row(Clock::time_point now) const;

  const uint64_t most_;
  uint64_t deleted_ = 0;
  Clock::time_point last_{};
  bool released_ = false;
};

}  // namespace rsyncfs
