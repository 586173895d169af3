// SPDX-License-Identifier: GPL-3.0-or-later
// Which contents were used last. A read costs an entry in memory; many of them are recorded together.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Any thread.
class ContentUses {
 public:
  // Goes on where the last run left off. Before anything else.
  Result<void> recover(Connection& db);

  // A number higher than that of any use before.
  uint64_t next() { return last_.fetch_add(1, std::memory_order_relaxed) + 1; }
  // The content of this node is used now. True: there is much to record.
  bool note(NodeId node);
  // Writes down what was noted; in a transaction. What it does not come to is as if it had not been used.
  Result<void> record(Connection& db);

 private:
  static constexpr size_t kMany = 8'192;
  static constexpr size_t kMaxNoted = 4 * kMany;  // with more, a use is not noted

  std::atomic<uint64_t> last_{0};
  std::mutex mutex_;
  std::unordered_map<NodeId, uint64_t> noted_;  // guarded by mutex_
};

}  // namespace rsyncfs
