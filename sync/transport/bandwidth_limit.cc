// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/transport/bandwidth_limit.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace rsyncfs {

namespace {
// More than a round trip anywhere, so that nothing is lost by it.
constexpr uint64_t kUnreadPartsOfSecond = 4;
constexpr uint64_t kLeastUnreadBytes = 16 * 1024;
constexpr uint64_t kMostUnreadBytes = 4 << 20;

double burst_of(uint64_t bytes_per_second) {
  const double seconds = std::chrono::duration<double>(TokenBucket::kBurstTime).count();
  return std::max(static_cast<double>(TokenBucket::kLeastBurstBytes),
                  static_cast<double>(bytes_per_second) * seconds);
}
}  // namespace

TokenBucket::TokenBucket(Loop& loop, uint64_t bytes_per_second)
    : loop_(loop),
      bytes_per_second_(static_cast<double>(bytes_per_second)),
      burst_(burst_of(bytes_per_second)),
      turn_(std::min<size_t>(kMostTurnBytes, static_cast<size_t>(burst_) / kTurnsInBurst)),
      level_(burst_),
      filled_at_(Clock::now()) {}

TokenBucket::~TokenBucket() {
  if (timer_ != 0) loop_.cancel_timer(timer_);
}

void TokenBucket::fill() {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - filled_at_).count();
  level_ = std::min(burst_, level_ + seconds * bytes_per_second_);
  filled_at_ = now;
}

size_t TokenBucket::turn_of(size_t wanted) const {
  return std::min(wanted, turn_);
}

std::optional<size_t> TokenBucket::take(size_t wanted) {
  if (!waiting_.empty()) return std::nullopt;
  fill();
  const size_t turn = turn_of(wanted);
  if (level_ < static_cast<double>(turn)) return std::nullopt;
  level_ -= static_cast<double>(turn);
  return turn;
}

TokenBucket::Ticket TokenBucket::wait(Urgency urgency, size_t wanted, UniqueFunction<void(size_t)> go) {
  waiting_.push_back({++last_ticket_, urgency, wanted, std::move(go)});
  serve_later();
  return last_ticket_;
}

void TokenBucket::set_urgency(Ticket ticket, Urgency urgency) {
  for (Waiting& one : waiting_) {
    if (one.ticket == ticket) one.urgency = urgency;
  }
}

void TokenBucket::cancel(Ticket ticket) {
  std::erase_if(waiting_, [ticket](const Waiting& one) { return one.ticket == ticket; });
}

std::list<TokenBucket::Waiting>::iterator TokenBucket::next() {
  if (turns_ + 1 >= kTurnsOfTheUrgent) return waiting_.begin();
  return std::min_element(waiting_.begin(), waiting_.end(),
                          [](const Waiting& a, const Waiting& b) { return a.urgency < b.urgency; });
}

void TokenBucket::serve() {
  fill();
  while (!waiting_.empty()) {
    const auto one = next();
    const size_t turn = turn_of(one->wanted);
    if (level_ < static_cast<double>(turn)) break;
    level_ -= static_cast<double>(turn);
    turns_ = turns_ + 1 >= kTurnsOfTheUrgent ? 0 : turns_ + 1;
    auto go = std::move(one->go);
    waiting_.erase(one);
    go(turn);
  }
  serve_later();
}

// When there is enough for whose turn it is then, and not before.
void TokenBucket::serve_later() {
  if (timer_ != 0 || waiting_.empty()) return;
  const double missing = static_cast<double>(turn_of(next()->wanted)) - level_;
  const auto seconds = std::chrono::duration<double>(std::max(0.0, missing) / bytes_per_second_);
  timer_ = loop_.run_after(std::chrono::ceil<std::chrono::nanoseconds>(seconds), [this] {
    timer_ = 0;
    serve();
  });
}

uint32_t unread_bytes_at(uint64_t bytes_per_second) {
  if (bytes_per_second == 0 || bytes_per_second / kUnreadPartsOfSecond > kMostUnreadBytes) return 0;
  return static_cast<uint32_t>(std::max(kLeastUnreadBytes, bytes_per_second / kUnreadPartsOfSecond));
}

}  // namespace rsyncfs
