// SPDX-License-Identifier: GPL-3.0-or-later
// Lets an invalidation wait for answers that were read before the change and are not given yet. Without it an
// old attribute could reach the kernel after the invalidation meant for it, and stay for a day.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace rsyncfs {

// Sections are short: read from the Replica, answer. wait() returns when every section that was entered
// before it has ended; sections entered later do not hold it up. Two epochs of counters, as in sleepable RCU.
// Any thread.
class AnswerGate {
 public:
  class Section {
   public:
    explicit Section(AnswerGate& gate);
    ~Section();
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;

   private:
    std::atomic<uint64_t>* ended_;
  };
  void wait();

 private:
  static constexpr size_t kShards = 16;
  struct alignas(64) Shard {
    std::atomic<uint64_t> entered[2] = {};
    std::atomic<uint64_t> ended[2] = {};
  };
  uint64_t sum(bool ended, unsigned epoch) const;
  void drain(unsigned epoch) const;

  std::mutex waiters_;  // one waiter at a time
  std::atomic<unsigned> epoch_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace rsyncfs
