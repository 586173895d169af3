// SPDX-License-Identifier: GPL-3.0-or-later
// Whether the source can be reached, and when it may be tried again: the one place that decides about
// reconnecting.
#pragma once

#include <chrono>
#include <optional>
#include <random>
#include <string>

#include "io/base/result.h"
#include "io/loop.h"
#include "sync/engine/status.h"

namespace rsyncfs {

// Loop thread only; pure but for its random jitter.
class Link {
 public:
  Link();

  // A session was established.
  void connected(std::string description);
  // A session could not be opened: down, and the next attempt moves away exponentially (with jitter).
  void attempt_failed(const Error& why, Clock::time_point now);
  // An established session stopped answering: down until something is received, attempts are allowed at once.
  void stalled(const Error& why, Clock::time_point now);
  // An established session ended badly while the link is up. Once is nothing; when it goes on, new sessions
  // are held back, each time for longer.
  void session_broke(Clock::time_point now);
  // Bytes arrived.
  void alive();

  LinkState state() const { return state_; }
  bool down() const { return state_ == LinkState::kDown; }
  // May a new session be opened now? `demanded`: somebody waits for it, so only storms are held back.
  bool may_attempt(Clock::time_point now, bool demanded) const;
  Clock::time_point next_attempt(bool demanded) const;
  std::chrono::nanoseconds down_for(Clock::time_point now) const;
  const std::optional<Error>& last_error() const { return last_error_; }
  // What a waiting request is told when it can't wait any longer.
  Error failure(std::string_view waited) const;
  std::string text(Clock::time_point now) const;

 private:
  std::chrono::nanoseconds backoff(unsigned failures);

  LinkState state_ = LinkState::kConnecting;
  std::string description_;
  std::optional<Error> last_error_;
  unsigned failures_ = 0;
  Clock::time_point last_attempt_{};
  Clock::time_point next_attempt_{};
  Clock::time_point down_since_{};
  unsigned broken_ = 0;  // sessions, in a row
  Clock::time_point last_broke_{};
  Clock::time_point held_until_{};
  std::minstd_rand random_;
};

}  // namespace rsyncfs
