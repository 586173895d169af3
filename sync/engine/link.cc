// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/link.h"

#include <algorithm>
#include <cerrno>

namespace rsyncfs {

namespace {
using std::chrono::milliseconds;
constexpr milliseconds kFirstBackoff{500};
constexpr milliseconds kLongestBackoff{30'000};
constexpr milliseconds kDemandedSpacing{500};  // between attempts that somebody waits for
constexpr unsigned kMaxDoublings = 6;
// What breaks within one moment has one cause.
constexpr milliseconds kOneMoment{200};
// So long without a broken session, and the next one is the first again.
constexpr std::chrono::seconds kCalm{60};
}  // namespace

Link::Link() : random_(std::random_device{}()) {}

void Link::connected(std::string description) {
  state_ = LinkState::kUp;
  description_ = std::move(description);
  failures_ = 0;
}

void Link::attempt_failed(const Error& why, Clock::time_point now) {
  const bool counted = down() && failures_ > 0 && now - last_attempt_ < kOneMoment;
  if (state_ != LinkState::kDown) down_since_ = now;
  state_ = LinkState::kDown;
  last_error_ = why;
  last_attempt_ = now;
  if (!counted) next_attempt_ = now + backoff(failures_++);
}

std::chrono::nanoseconds Link::backoff(unsigned failures) {
  const auto base = std::min(kFirstBackoff * (1U << std::min(failures, kMaxDoublings)), kLongestBackoff);
  // Between 0.75 and 1.25 of it, so that many mounts do not come back in one instant.
  std::uniform_int_distribution<int> percent(75, 125);
  return base * percent(random_) / 100;
}

void Link::session_broke(Clock::time_point now) {
  if (broken_ > 0 && now - last_broke_ < kOneMoment) return;
  if (now - last_broke_ > kCalm) broken_ = 0;
  last_broke_ = now;
  if (broken_ > 0) held_until_ = now + backoff(broken_ - 1);
  ++broken_;
}

void Link::stalled(const Error& why, Clock::time_point now) {
  if (state_ != LinkState::kDown) down_since_ = now;
  state_ = LinkState::kDown;
  last_error_ = why;
  last_attempt_ = now;
  next_attempt_ = now;
}

void Link::alive() {
  if (state_ == LinkState::kDown) {
    state_ = LinkState::kUp;
    failures_ = 0;
  }
}

bool Link::may_attempt(Clock::time_point now, bool demanded) const {
  return now >= next_attempt(demanded);
}

Clock::time_point Link::next_attempt(bool demanded) const {
  auto due = demanded ? std::min(held_until_, last_broke_ + kDemandedSpacing) : held_until_;
  if (down())
    due = std::max(due, demanded ? std::min(next_attempt_, last_attempt_ + kDemandedSpacing) : next_attempt_);
  return due;
}

std::chrono::nanoseconds Link::down_for(Clock::time_point now) const {
  return down() ? now - down_since_ : std::chrono::nanoseconds(0);
}

Error Link::failure(std::string_view waited) const {
  if (down() && last_error_) {
    if (last_error_->code() == Errc::kTimedOut) return last_error_->with_errno(ETIMEDOUT);
    return Error(Errc::kUnreachable, last_error_->message()).with_errno(EHOSTUNREACH);
  }
  return Error(Errc::kTimedOut, "the source did not answer within " + std::string(waited))
      .with_errno(ETIMEDOUT);
}

std::string Link::text(Clock::time_point now) const {
  switch (state_) {
    case LinkState::kConnecting:
      return "connecting";
    case LinkState::kUp:
      return description_.empty() ? "connected" : description_;
    case LinkState::kDown:
      break;
  }
  const auto wait = std::chrono::duration_cast<std::chrono::seconds>(next_attempt_ - now).count();
  const std::string retry = wait > 0 ? "next attempt in " + std::to_string(wait) + " s" : "trying again";
  return (last_error_ ? last_error_->message() : std::string("disconnected")) + "; " + retry;
}

}  // namespace rsyncfs
