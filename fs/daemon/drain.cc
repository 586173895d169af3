// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/drain.h"

#include <algorithm>
#include <utility>

#include "fs/control/text_lines.h"

namespace rsyncfs {

void Drain::start(std::chrono::milliseconds limit, UniqueFunction<void(const FlushOutcome&)> done) {
  RSYNCFS_CHECK(!wait_ && !outcome_);
  done_ = std::move(done);
  const std::chrono::milliseconds whole = asked_limit_.value_or(limit);
  set_latest_end(whole);
  wait_ = std::make_shared<FlushWait>(
      loop_, context_, FlushWait::Scope{},
      FlushWait::Limits{whole, std::min<std::chrono::milliseconds>(whole, kOfflineLimit)});
  wait_->start(
      [this](const JobProgress& progress) {
        for (const auto& watcher : watchers_) {
          watcher->send({.kind = ControlAnswer::Kind::kProgress, .progress = progress});
        }
      },
      [this](FlushOutcome outcome) { end(std::move(outcome)); });
}

void Drain::skip() {
  end({.all_sent = true});
}

void Drain::end(FlushOutcome outcome) {
  // Not destroyed here: it may be the caller.
  const std::shared_ptr<FlushWait> wait = std::exchange(wait_, nullptr);
  outcome_ = std::move(outcome);
  for (const auto& watcher : std::exchange(watchers_, {})) tell(*watcher);
  if (done_) std::exchange(done_, nullptr)(*outcome_);
}

void Drain::watch(std::shared_ptr<ControlReply> reply, std::optional<std::chrono::seconds> limit) {
  if (outcome_) return tell(*reply);
  watchers_.push_back(std::move(reply));
  if (!limit) return;
  asked_limit_ = *limit;
  if (!wait_) return;
  set_latest_end(*limit);
  wait_->limit_to(*limit);
}

void Drain::shorten(std::chrono::milliseconds limit) {
  if (!wait_ || Clock::now() + limit >= latest_end()) return;
  set_latest_end(limit);
  wait_->limit_to(limit);
}

bool Drain::hand_over() {
  if (!wait_) return false;
  wait_->give_up("a new mount goes on with them");
  return true;
}

void Drain::set_latest_end(std::chrono::milliseconds from_now) {
  latest_end_ = (Clock::now() + from_now).time_since_epoch().count();
}

void Drain::tell(ControlReply& reply) const {
  if (outcome_->all_sent) return reply.finish({.kind = ControlAnswer::Kind::kDone});
  tell_what_is_left(reply, *outcome_);
}

std::string unsent_line(const FlushOutcome& outcome) {
  return changes_text(outcome.left.changes, outcome.left.bytes) +
         (outcome.left.changes == 1 ? " is" : " are") + " not on the source: " + outcome.reason;
}

void tell_what_is_left(ControlReply& reply, const FlushOutcome& outcome) {
  for (const UnsentChange& change : outcome.left.first) {
    reply.send({.kind = ControlAnswer::Kind::kFailedPath, .path = change.path, .reason = change.what});
  }
  reply.finish({.kind = ControlAnswer::Kind::kFailed,
                .reason = unsent_line(outcome),
                .failure = ControlFailure::kUnsent});
}

}  // namespace rsyncfs
