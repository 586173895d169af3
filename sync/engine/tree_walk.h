// SPDX-License-Identifier: GPL-3.0-or-later
// Which small files a program that reads a tree through is likely to ask for next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sync/engine/file_target.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// Where a walk stands: in `directory`, behind the name `after`.
struct WalkPosition {
  NodeId directory = 0;
  std::string after;
};

// How far one step may go.
struct WalkLimits {
  std::string top;         // path at the source: the walk stays at and below it
  bool recursive = false;  // otherwise it ends with its first directory
  uint64_t bytes = 0;      // of the files that it finds, or one file more
};

struct WalkStep {
  std::vector<FileTarget> files;     // small, at the source, and not here yet
  std::optional<WalkPosition> next;  // where it goes on; nullopt: it is over
};

// In the order in which find, tar and grep -r see the names that the mount gives them: depth first, each
// directory where its name stands. Directories that were never listed are left out. Any thread; reads the
// Replica. What cannot be read ends the walk.
WalkStep walk_tree(const Replica& replica, WalkPosition from, const WalkLimits& limits);

// The deepest directory that is at or above both; paths at the source.
std::string common_top(const std::string& directory, const std::string& other);

}  // namespace rsyncfs
