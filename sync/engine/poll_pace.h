// SPDX-License-Identifier: GPL-3.0-or-later
// How often the source is looked at: often enough to be current, and not so often that it costs more than it
// is worth where nothing changes.
#pragma once

#include <chrono>
#include <cstdint>

namespace rsyncfs {

struct PollOptions {
  enum class Mode : uint8_t { kAuto, kOff, kFixed };
  Mode mode = Mode::kAuto;
  std::chrono::milliseconds every{1'000};  // kFixed: of directories in use; of the whole tree ten times that
};

// What one list was.
struct ListCost {
  uint64_t entries = 0;
  uint64_t bytes = 0;  // on the wire
};

// The least time from one look at the directories in use to the next, the last having cost so much. Off: a
// day, which is as good as never.
std::chrono::milliseconds directories_interval(const PollOptions& options, const ListCost& last);
// The same of directories that are used after a rest, and so are looked at at once.
std::chrono::milliseconds least_gap(const ListCost& last);
// Of the whole tree. `used`: somebody is at work in it.
std::chrono::milliseconds tree_interval(const PollOptions& options, const ListCost& last, bool used);

constexpr std::chrono::milliseconds kLongestPollInterval{86'400'000};

}  // namespace rsyncfs
