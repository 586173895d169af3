// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of a name that was changed here and at the source, each without knowing of the other.
#pragma once

#include <cstdint>
#include <string>

namespace rsyncfs {

enum class ConflictPolicy : uint8_t {
  kCopy,    // theirs keeps the name, ours goes beside it as NAME.conflict-HOST-TIME
  kLocal,   // ours replaces theirs
  kRemote,  // ours is dropped
};

// For names that match; the first rule that does counts, and the policy of the mount where none does.
struct ConflictRule {
  std::string pattern;  // fnmatch(3) over the path when it has a '/' ('*' matches none), else over the name
  ConflictPolicy policy = ConflictPolicy::kCopy;
  bool operator==(const ConflictRule&) const = default;
};

}  // namespace rsyncfs
