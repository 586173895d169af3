// SPDX-License-Identifier: GPL-3.0-or-later
// Keeps what is pinned here and current: what lists bring into pinned trees is fetched by itself, a little at
// a time, so that nobody who reads has to wait for it.
#pragma once

#include <chrono>
#include <memory>
#include <unordered_set>
#include <vector>

#include "fs/daemon/hydration.h"

namespace rsyncfs {

// Loop thread only.
class PinKeeper {
 public:
  static constexpr size_t kMaxInFlight = 2;    // files
  static constexpr size_t kMaxNoted = 10'000;  // with more changes, everything pinned is looked at
  static constexpr std::chrono::milliseconds kDelay{200};  // changes come together
  static constexpr std::chrono::seconds kRetry{30};        // after something could not be had
  static constexpr std::chrono::minutes kLookEvery{10};    // at everything, whatever was told

  PinKeeper(Loop& loop, WalkContext context) : loop_(loop), context_(context) {}
  PinKeeper(const PinKeeper&) = delete;
  PinKeeper& operator=(const PinKeeper&) = delete;

  // Looks at everything pinned, now and from time to time.
  void start();
  void note_changes(const std::vector<NameChange>& changes);
  // Nothing more is fetched.
  void stop();

 private:
  struct Place {
    Node node;
    std::string path;
  };

  void look_later(std::chrono::milliseconds delay);
  void look();
  static Result<std::vector<Place>> places(const WalkContext& context, bool everything,
                                           const std::vector<NodeId>& changed);
  void bring(const std::vector<Place>& places);
  void failed(const std::string& path, const Error& error);
  void end_round(std::chrono::milliseconds pause);

  Loop& loop_;
  WalkContext context_;
  std::unordered_set<NodeId> changed_;
  bool everything_ = false;  // is to be looked at
  bool working_ = false;
  bool failed_ = false;  // something could not be had, in this round
  bool stopped_ = true;
  TimerId timer_ = 0;
  Clock::time_point due_{};
  std::shared_ptr<Hydration> hydration_;
};

}  // namespace rsyncfs
