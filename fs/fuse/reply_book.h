// SPDX-License-Identifier: GPL-3.0-or-later
// The replies of one mount that are not given yet.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sync/engine/syncer.h"

namespace rsyncfs {

// Any thread.
class ReplyBook {
 public:
  void opened() { open_.fetch_add(1); }
  void closed();
  // `number` is the kernel's, of a request that came by a ring; 0 of others. True: it was interrupted before.
  bool parked(RequestId request, uint64_t number);
  void unparked(RequestId request, uint64_t number);
  // What that request of a ring waits for; 0 if nothing, but should it come to that it is known.
  RequestId interrupted(uint64_t number);
  void failed(int error_number);

  uint64_t open() const { return open_.load(); }
  uint64_t errors() const;
  // By errno, those that happened.
  std::vector<std::pair<int, uint64_t>> errors_by_number() const;
  uint64_t parked_total() const { return parked_total_.load(std::memory_order_relaxed); }
  std::vector<RequestId> parked_now() const;
  size_t parked_count() const;
  // True when every reply was given within the limit.
  bool wait_none_open(std::chrono::milliseconds limit);

 private:
  std::atomic<uint64_t> open_{0};
  // Linux has no greater errno that may be answered with; should there be one, it is counted as 0.
  static constexpr size_t kErrnos = 134;
  std::array<std::atomic<uint64_t>, kErrnos> errors_{};
  std::atomic<uint64_t> parked_total_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable none_open_;
  std::unordered_set<RequestId> parked_;
  std::unordered_map<uint64_t, RequestId> parked_by_number_;  // those of rings
  std::deque<uint64_t> interrupted_;                          // the last of those that did not wait then
};

}  // namespace rsyncfs
