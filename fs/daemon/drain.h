// SPDX-License-Identifier: GPL-3.0-or-later
// What follows an unmount by whatever means: nothing is changed any more, and what is not on the source yet
// is sent, within a limit. The rest stays in the store, and the next mount sends it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/control/server.h"
#include "fs/daemon/flush_wait.h"

namespace rsyncfs {

// Loop thread, but for what says otherwise.
class Drain {
 public:
  static constexpr std::chrono::seconds kLimit{30};
  static constexpr std::chrono::seconds kSignalLimit{5};   // whoever sends SIGTERM may send SIGKILL soon
  static constexpr std::chrono::seconds kOfflineLimit{5};  // without a connection

  Drain(Loop& loop, WalkContext context) : loop_(loop), context_(context) {}

  // Once. `done` when all is sent or no more will be. A limit given to watch() counts instead.
  void start(std::chrono::milliseconds limit, UniqueFunction<void(const FlushOutcome&)> done);
  // Once, instead of start(): nothing was to be sent.
  void skip();
  // Tells this client how it goes, and the outcome; before, during or after the draining.
  void watch(std::shared_ptr<ControlReply> reply, std::optional<std::chrono::seconds> limit);
  // From now on, if it was longer.
  void shorten(std::chrono::milliseconds limit);
  // Ends it for a new mount of the same store. False when it is not under way.
  bool hand_over();
  bool is_running() const { return wait_ != nullptr; }
  bool is_over() const { return outcome_.has_value(); }

  // Any thread. It is over by then, unless the loop hangs.
  Clock::time_point latest_end() const { return Clock::time_point(Clock::duration(latest_end_.load())); }

 private:
  void set_latest_end(std::chrono::milliseconds from_now);
  void end(FlushOutcome outcome);
  void tell(ControlReply& reply) const;

  Loop& loop_;
  WalkContext context_;
  std::optional<std::chrono::milliseconds> asked_limit_;
  std::shared_ptr<FlushWait> wait_;
  std::optional<FlushOutcome> outcome_;
  UniqueFunction<void(const FlushOutcome&)> done_;
  std::vector<std::shared_ptr<ControlReply>> watchers_;
  std::atomic<Clock::rep> latest_end_{0};
};

// The line that tells what a FlushWait has left, and the paths as far as they are known.
void tell_what_is_left(ControlReply& reply, const FlushOutcome& outcome);
std::string unsent_line(const FlushOutcome& outcome);

}  // namespace rsyncfs
