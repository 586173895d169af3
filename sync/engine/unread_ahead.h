// SPDX-License-Identifier: GPL-3.0-or-later
// Files that are brought though nobody has asked for them, until somebody does: what tells whether a guess
// was good, and how much of it is outstanding.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "sync/replica/types.h"

namespace rsyncfs {

// What a file costs beside its bytes, here and on the wire.
constexpr uint64_t kAheadOverheadBytes = 512;

// Any thread.
class UnreadAhead {
 public:
  // False: it is one of them already.
  bool add(NodeId file, uint64_t bytes);
  // It was asked for, or is not brought after all: what it counted for; 0 if it is none of them. Costs next
  // to nothing while there are none.
  uint64_t take(NodeId file);
  void clear();
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  std::mutex mutex_;  // guards files_
  std::unordered_map<NodeId, uint64_t> files_;
  std::atomic<size_t> count_{0};    // of files_
  std::atomic<uint64_t> bytes_{0};  // with kAheadOverheadBytes for each
};

}  // namespace rsyncfs
