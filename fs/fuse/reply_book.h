// SPDX-License-Identifier: GPL-3.0-or-later
// The replies of one mount that are not given yet.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
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
  void failed() { errors_.fetch_add(1, std::memory_order_relaxed); }

  uint64_t open() const { return open_.load(); }
  uint64_t errors() const { return errors_.load(std::memory_order_relaxed); }
  uint64_t parked_total() const { return parked_total_.load(std::memory_order_relaxed); }
  std::vector<RequestId> parked_now() const;
  size_t parked_count() const;
  // True when every reply was given within the limit.
  bool wait_none_open(std::chrono::milliseconds limit);

 private:
  std::atomic<uint64_t> open_{0};
  std::atomic<uint64_t> errors_{0};
  std::atomic<uint64_t> parked_total_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable none_open_;
  std::unordered_set<RequestId> parked_;
  std::unordered_map<uint64_t, RequestId> parked_by_number_;  // those of rings
  std::deque<uint64_t> interrupted_;                          // the last of those that did not wait then
};

}  // namespace rsyncfs
