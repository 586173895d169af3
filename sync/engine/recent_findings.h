// SPDX-License-Identifier: GPL-3.0-or-later
// What the source had a moment ago. A look also takes in the places of what will be pushed next, which then
// needs no look of its own. Only ever good for what is as expected: anything else is looked at again.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/loop.h"
#include "sync/engine/push_plan.h"
#include "sync/engine/remote_check.h"

namespace rsyncfs {

// Loop thread only.
class RecentFindings {
 public:
  // Others may change the source between a look and what follows from it: as long as one batch may take
  // anyway.
  static constexpr std::chrono::milliseconds kRecent{1'000};

  // Places that will be asked for soon; in place of those before.
  void expect(std::vector<std::string> paths) { expected_ = std::move(paths); }
  // `paths`, and behind them what else should be looked at in the same session.
  std::vector<std::string> with_expected(std::vector<std::string> paths) const;

  void put(const std::string& path, RemoteFinding finding, Clock::time_point seen);
  // One for each path; nullopt: some are not known, or not any more.
  std::optional<std::vector<RemoteFinding>> find(const std::vector<std::string>& paths,
                                                 Clock::time_point now) const;
  // What the batch has changed at the source.
  void forget(const PushBatch& batch);
  void clear() { known_.clear(); }

 private:
  struct Seen {
    RemoteFinding finding;
    Clock::time_point at;
  };
  std::vector<std::string> expected_;
  std::map<std::string, Seen, std::less<>> known_;
};

}  // namespace rsyncfs
