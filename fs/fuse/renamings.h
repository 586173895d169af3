// SPDX-License-Identifier: GPL-3.0-or-later
// A list shows a renaming as a name that went and one that came, in whichever order its directories follow.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

// One event for those who watch.
struct Renaming {
  NameChange gone;   // kRemoved
  NameChange there;  // where it is now; not necessarily a name that is new
};

// What belongs together among the changes that are told at once: both are of one node, or one is known to be
// the other renamed. Each change belongs to one renaming at most.
class Renamings {
 public:
  explicit Renamings(const std::vector<NameChange>& changes);

  const std::vector<std::pair<size_t, size_t>>& pairs() const { return pairs_; }  // gone, there
  bool has(size_t change) const { return !paired_.empty() && paired_[change]; }

 private:
  std::vector<std::pair<size_t, size_t>> pairs_;
  std::vector<bool> paired_;  // empty: none
};

}  // namespace rsyncfs
