// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/poll_pace.h"

#include <algorithm>

namespace rsyncfs {

namespace {

using std::chrono::milliseconds;

// A server's processor time, measured: one that is there already, and each entry that it lists.
constexpr uint64_t kSession_us = 3'000;
constexpr uint64_t kEntry_us = 12;
// 2 % of a processor.
constexpr uint64_t kShare = 50;
// Bytes a second.
constexpr uint64_t kDirectoriesRate = 4'096;
constexpr uint64_t kUsedTreeRate = 2'048;
constexpr uint64_t kIdleTreeRate = 640;
constexpr milliseconds kShortestDirectories{1'000};
constexpr milliseconds kShortestGap{150};
constexpr milliseconds kShortestTree{5'000};
constexpr int kTreeFactor = 10;

milliseconds paced(const ListCost& last, uint64_t rate, milliseconds shortest) {
  const uint64_t work_ms = (kSession_us + last.entries * kEntry_us) * kShare / 1'000;
  const uint64_t wire_ms = last.bytes * 1'000 / rate;
  const uint64_t longest = static_cast<uint64_t>(kLongestPollInterval.count());
  const milliseconds wanted(static_cast<int64_t>(std::min(std::max(work_ms, wire_ms), longest)));
  return std::max(wanted, shortest);
}

}  // namespace

milliseconds directories_interval(const PollOptions& options, const ListCost& last) {
  if (options.mode == PollOptions::Mode::kOff) return kLongestPollInterval;
  if (options.mode == PollOptions::Mode::kFixed) return options.every;
  return paced(last, kDirectoriesRate, kShortestDirectories);
}

milliseconds least_gap(const ListCost& last) {
  return paced(last, kDirectoriesRate, kShortestGap);
}

milliseconds tree_interval(const PollOptions& options, const ListCost& last, bool used) {
  if (options.mode == PollOptions::Mode::kOff) return kLongestPollInterval;
  if (options.mode == PollOptions::Mode::kFixed)
    return std::min(options.every * kTreeFactor, kLongestPollInterval);
  return paced(last, used ? kUsedTreeRate : kIdleTreeRate, kShortestTree);
}

}  // namespace rsyncfs
