// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/deletion_brake.h"

#include <limits>

namespace rsyncfs {

namespace {
// Deletions that are further apart are not of one row.
constexpr std::chrono::seconds kRowEndsAfter{60};
}  // namespace

uint64_t DeletionBrake::in_row(Clock::time_point now) const {
  return now - last_ < kRowEndsAfter ? deleted_ : 0;
}

uint64_t DeletionBrake::room(Clock::time_point now) const {
  if (most_ == 0 || released_) return std::numeric_limits<uint64_t>::max();
  const uint64_t already = in_row(now);
  return already < most_ ? most_ - already : 0;
}

bool DeletionBrake::holds(Clock::time_point now, uint64_t more) const {
  return more > room(now);
}

void DeletionBrake::note_deleted(Clock::time_point now, uint64_t count) {
  if (count == 0) return;
  deleted_ = in_row(now) + count;
  last_ = now;
}

}  // namespace rsyncfs
