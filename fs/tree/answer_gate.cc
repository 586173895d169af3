// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/answer_gate.h"

#include <chrono>
#include <thread>

namespace rsyncfs {
namespace {

constexpr int kYieldsBeforeSleep = 64;
constexpr std::chrono::microseconds kSleep{50};

size_t this_thread_number() {
  static std::atomic<size_t> next{0};
  thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

}  // namespace

AnswerGate::Section::Section(AnswerGate& gate) {
  Shard& shard = gate.shards_[this_thread_number() % kShards];
  const unsigned epoch = gate.epoch_.load() & 1;
  shard.entered[epoch].fetch_add(1);
  ended_ = &shard.ended[epoch];
}

AnswerGate::Section::~Section() {
  ended_->fetch_add(1);
}

uint64_t AnswerGate::sum(bool ended, unsigned epoch) const {
  uint64_t total = 0;
  for (const Shard& shard : shards_) total += (ended ? shard.ended : shard.entered)[epoch].load();
  return total;
}

// Ends are counted before entries: when the sums agree, there was a moment at which nobody was inside.
void AnswerGate::drain(unsigned epoch) const {
  for (int round = 0;; ++round) {
    const uint64_t ended = sum(true, epoch);
    if (ended == sum(false, epoch)) return;
    if (round < kYieldsBeforeSleep) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kSleep);
    }
  }
}

void AnswerGate::wait() {
  const std::lock_guard lock(waiters_);
  const unsigned current = epoch_.load();
  // A section may have read the epoch before the last flip and counted itself after it: it is in the other
  // one.
  drain((current + 1) & 1);
  epoch_.store(current + 1);
  drain(current & 1);
}

}  // namespace rsyncfs
