// SPDX-License-Identifier: GPL-3.0-or-later
// Files that are longer at the source than here, and whether what is here is known to be their beginning. In
// memory only: a list asks again.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class Growths {
 public:
  // `grew`: the node's content is that of this version, in which it went on. Otherwise that is another file.
  void settle(NodeId node, const FileVersion& version, bool grew);
  // nullopt: not known.
  std::optional<bool> grew(NodeId node, const FileVersion& version) const;
  void forget(NodeId node);

 private:
  struct Answer {
    FileVersion version;
    bool grew = false;
  };
  // With more than this, all is forgotten: files are replaced that could have grown.
  static constexpr size_t kMaxAnswers = 10'000;
  mutable std::mutex mutex_;
  std::unordered_map<NodeId, Answer> answers_;  // guarded by mutex_
};

}  // namespace rsyncfs
