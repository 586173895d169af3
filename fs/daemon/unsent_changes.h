// SPDX-License-Identifier: GPL-3.0-or-later
// What the source does not have yet, by path and in words: for who waits for it, and for `info`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/engine/local_only.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

struct UnsentChange {
  std::string path;  // as users see it; of what was removed, as the source has it
  std::string what;  // "new", "removed", "contents, mode"
};

struct UnsentChanges {
  uint64_t changes = 0;  // about
  uint64_t bytes = 0;    // at most
  std::vector<UnsentChange> first;
};

// Differences that are looked at, at most, when those of a part of the tree are asked for.
constexpr size_t kMaxUnsentScanned = 100'000;

// At and below `path` ("" = everywhere), `limit` of them by name. Reads the store: not on the loop.
Result<UnsentChanges> unsent_changes(const Replica& replica, const LocalOnly& local_only,
                                     const std::string& path, size_t limit);

// "contents", "mode", ... for NodeDifference bits; "new" alone where the source does not have the node.
std::vector<std::string> difference_words(uint32_t differences);

}  // namespace rsyncfs
