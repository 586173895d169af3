// SPDX-License-Identifier: GPL-3.0-or-later
// Directories that vanished from one directory and such that appeared in it, in one list. A renamed directory
// keeps its modification time, to the nanosecond, and its other attributes. What is below it is compared when
// it is listed itself: a wrong guess then costs what it shows until that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sync/replica/types.h"

namespace rsyncfs {

// One per list of a directory; `index` is the caller's.
class RenamedDirectories {
 public:
  void vanished(size_t index, const NodeAttributes& attr) { note(attr, &Alike::vanished, index); }
  void appeared(size_t index, const NodeAttributes& attr) { note(attr, &Alike::appeared, index); }
  // Each with what it is now; none of those of which several are alike.
  std::vector<std::pair<size_t, size_t>> found() const;

 private:
  struct Alike {
    NodeAttributes attr;
    std::vector<size_t> vanished;
    std::vector<size_t> appeared;
  };
  static bool same(const NodeAttributes& a, const NodeAttributes& b);
  void note(const NodeAttributes& attr, std::vector<size_t> Alike::*side, size_t index);

  std::unordered_multimap<uint64_t, Alike> by_time_;
};

}  // namespace rsyncfs
