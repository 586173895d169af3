// SPDX-License-Identifier: GPL-3.0-or-later
// Reads that failed a moment ago. The kernel asks a second time when a read-ahead failed, before it tells the
// reader; without this each failure would take the source's time limit twice.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "io/base/result.h"
#include "sync/replica/types.h"

namespace rsyncfs {

constexpr std::chrono::milliseconds kFailureStands{1000};
constexpr size_t kMaxRecentFailures = 1024;  // files; beyond it a failure is simply met twice

// Any thread.
class RecentFailures {
 public:
  using Time = std::chrono::steady_clock::time_point;
  void add(NodeId file, uint64_t begin, uint64_t end, const Error& error, Time now);
  // The error of a failed read that overlaps [begin, end).
  std::optional<Error> find(NodeId file, uint64_t begin, uint64_t end, Time now) const;

 private:
  struct Failure {
    uint64_t begin;
    uint64_t end;
    Error error;
    Time until;
  };
  mutable std::mutex mutex_;
  std::atomic<bool> any_{false};  // spares readers the lock
  std::unordered_map<NodeId, Failure> failures_;
};

}  // namespace rsyncfs
