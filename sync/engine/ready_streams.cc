// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/ready_streams.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace rsyncfs {

namespace {
// What was to be pushed may be changed again, and due later; a daemon waits a minute for a login.
constexpr std::chrono::seconds kKept{3};
}  // namespace

ReadyStreams::ReadyStreams(Loop& loop, Resolver& resolver, const SyncerOptions& options)
    : loop_(loop), resolver_(resolver), options_(options) {}

ReadyStreams::~ReadyStreams() {
  close();
}

void ReadyStreams::want(size_t count) {
  if (options_.source.kind != Source::Kind::kDaemon) return;
  count = std::min(count, kMost);
  if (count > 0) expire_later();
  while (streams_.size() + attempts_.size() < count) {
    auto& attempt = attempts_.emplace_back();
    auto made_by = std::make_shared<const ConnectAttempt*>(nullptr);
    attempt = connect_tcp(
        loop_, resolver_, options_.tcp, options_.connect_timeout,
        [this, made_by](Result<std::unique_ptr<Stream>> stream) { made(*made_by, std::move(stream)); });
    *made_by = attempt.get();
  }
}

// Without it the session makes its own, and hears why there is none.
void ReadyStreams::made(const ConnectAttempt* attempt, Result<std::unique_ptr<Stream>> stream) {
  const auto one = std::find_if(attempts_.begin(), attempts_.end(),
                                [&](const auto& candidate) { return candidate.get() == attempt; });
  if (one == attempts_.end()) return;
  // It is on the stack of its own callback.
  loop_.post([over = std::shared_ptr<ConnectAttempt>(std::move(*one))]() mutable { over.reset(); });
  attempts_.erase(one);
  if (stream) streams_.push_back(std::move(*stream));
}

std::unique_ptr<Stream> ReadyStreams::take() {
  if (streams_.empty()) return nullptr;
  std::unique_ptr<Stream> out = std::move(streams_.back());
  streams_.pop_back();
  return out;
}

void ReadyStreams::expire_later() {
  if (timer_ != 0) loop_.cancel_timer(timer_);
  timer_ = loop_.run_after(kKept, [this] {
    timer_ = 0;
    close();
  });
}

void ReadyStreams::close() {
  if (timer_ != 0) loop_.cancel_timer(std::exchange(timer_, 0));
  attempts_.clear();
  streams_.clear();
}

}  // namespace rsyncfs
