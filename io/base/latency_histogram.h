// SPDX-License-Identifier: GPL-3.0-or-later
// How long things took, counted by fixed bounds: cheap enough for every request.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace rsyncfs {

// Upper bounds, inclusive: from what is answered from memory to what waited for the source to come back.
constexpr std::array<std::chrono::microseconds, 15> kLatencyBounds{
    std::chrono::microseconds(10),  std::chrono::microseconds(50), std::chrono::microseconds(100),
    std::chrono::microseconds(500), std::chrono::milliseconds(1),  std::chrono::milliseconds(5),
    std::chrono::milliseconds(10),  std::chrono::milliseconds(50), std::chrono::milliseconds(100),
    std::chrono::milliseconds(500), std::chrono::seconds(1),       std::chrono::seconds(5),
    std::chrono::seconds(10),       std::chrono::seconds(60),      std::chrono::seconds(600)};

// Plain data, as of one moment.
struct LatencyCounts {
  std::array<uint64_t, kLatencyBounds.size() + 1> counts{};  // each bound's own; the last: above all of them
  uint64_t sum_ns = 0;
  uint64_t total() const {
    uint64_t sum = 0;
    for (const uint64_t count : counts) sum += count;
    return sum;
  }
  bool operator==(const LatencyCounts&) const = default;
};

// Any thread. The counts and the sum of one moment may differ by what is being noted.
class LatencyHistogram {
 public:
  void note(std::chrono::nanoseconds took) {
    size_t at = 0;
    while (at < kLatencyBounds.size() && took > kLatencyBounds[at]) ++at;
    counts_[at].fetch_add(1, std::memory_order_relaxed);
    if (took.count() > 0) sum_ns_.fetch_add(static_cast<uint64_t>(took.count()), std::memory_order_relaxed);
  }
  LatencyCounts now() const {
    LatencyCounts out;
    for (size_t i = 0; i < counts_.size(); ++i) out.counts[i] = counts_[i].load(std::memory_order_relaxed);
    out.sum_ns = sum_ns_.load(std::memory_order_relaxed);
    return out;
  }

 private:
  std::array<std::atomic<uint64_t>, kLatencyBounds.size() + 1> counts_{};
  std::atomic<uint64_t> sum_ns_{0};
};

}  // namespace rsyncfs
