// SPDX-License-Identifier: GPL-3.0-or-later
// What could not be pushed lately: why, and when it is tried again, a second later at first and then less and
// less often.
#pragma once

#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "io/loop.h"
#include "sync/replica/types.h"

namespace rsyncfs {

constexpr std::chrono::milliseconds kFirstPushBackoff{1'000};
constexpr std::chrono::milliseconds kLongestPushBackoff{300'000};
constexpr unsigned kMaxPushDoublings = 9;
// Of the n-th attempt in a row.
std::chrono::milliseconds push_backoff(unsigned times);

struct PushFailure {
  std::string path;
  Error why;
  unsigned times = 0;
  Clock::time_point last;
  Clock::time_point until;
  bool halfway = false;  // a part of it is done

  // For people.
  std::string text(Clock::time_point now) const;
};

// Loop thread only.
class PushFailures {
 public:
  const PushFailure& note(NodeId node, const std::string& path, const Error& why);
  void note_halfway(NodeId node) { failures_.at(node).halfway = true; }
  void erase(NodeId node) { failures_.erase(node); }
  void clear() { failures_.clear(); }
  // Everything gets another chance at once.
  void retry();

  const PushFailure* find(NodeId node) const;
  // What is not to be tried yet.
  std::unordered_set<NodeId> held(Clock::time_point now) const;
  // When the first of them is to be tried.
  std::optional<Clock::time_point> next() const;
  // Something is about to be looked at again because it was not as it had been a moment before.
  bool changes_meanwhile() const;
  // Why `path` is still here when nothing can be done; the reason of something else where there is none.
  Error left_over(const std::string& path) const;
  std::vector<std::string> texts(size_t most) const;

 private:
  std::unordered_map<NodeId, PushFailure> failures_;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace rsyncfs
