// SPDX-License-Identifier: GPL-3.0-or-later
// How many of the reads that reached us could be answered from what is here. What the kernel answers from its
// own pages, or reads by itself, is not among them.
#pragma once

#include <atomic>
#include <cstdint>

#include "io/base/latency_histogram.h"

namespace rsyncfs {

// Any thread.
struct ReadCounters {
  std::atomic<uint64_t> hits{0};
  std::atomic<uint64_t> hit_bytes{0};
  std::atomic<uint64_t> misses{0};  // had to wait for the source
  std::atomic<uint64_t> missed_bytes{0};
  LatencyHistogram miss_latency;  // of those that were answered

  void note_hit(uint64_t bytes) {
    hits.fetch_add(1, std::memory_order_relaxed);
    hit_bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
  void note_miss(uint64_t bytes) {
    misses.fetch_add(1, std::memory_order_relaxed);
    missed_bytes.fetch_add(bytes, std::memory_order_relaxed);
  }
};

}  // namespace rsyncfs
