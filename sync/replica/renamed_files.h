// SPDX-License-Identifier: GPL-3.0-or-later
// Regular files that vanished and such that appeared in one list: those of the same size and time, to the
// nanosecond, are most likely the same file under another name. What is here of it is then worth a look: the
// new one is made of it by delta, which proves it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "sync/replica/types.h"

namespace rsyncfs {

// One per list.
class RenamedFiles {
 public:
  // What appeared before and may be this file; otherwise it is remembered.
  std::optional<NodeId> vanished(const Node& node);
  // What vanished before and may be it; otherwise it is remembered.
  std::optional<Node> appeared(NodeId node, const FileVersion& version);

 private:
  // The rest is fetched anew.
  static constexpr size_t kMaxRemembered = 100'000;
  struct Hash {
    size_t operator()(const FileVersion& version) const;
  };
  // Without nanoseconds, or bytes, too many are alike.
  static bool tells(const FileVersion& version) { return version.mtime_ns != 0 && version.size != 0; }

  std::unordered_map<FileVersion, Node, Hash> vanished_;
  std::unordered_map<FileVersion, NodeId, Hash> appeared_;
};

}  // namespace rsyncfs
