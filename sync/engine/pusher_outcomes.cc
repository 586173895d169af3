// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of a batch that is over, and of what it could not do.
#include <algorithm>
#include <chrono>
#include <unordered_set>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/push_journal.h"
#include "sync/engine/pusher.h"
#include "sync/engine/refused_options.h"

namespace rsyncfs {

namespace {

// main.c, get_local_name(): where we push to is a file now.
bool is_no_directory(const Error& why) {
  const std::string& text = why.message();
  return text.find("cannot stat destination") != std::string::npos
             ? text.find("Not a directory") != std::string::npos
             : text.find("destination must be a directory") != std::string::npos;
}

}  // namespace

void Pusher::job_over(PushOutcome outcome) {
  const std::unique_ptr<PushJob> job = std::move(job_);
  pool_.reserve_for_push(false);
  static_cast<void>(sessions_.drop_prepared());
  if (closing_) return;
  // Broken off, what was taken up again is where it was, whatever that run came to.
  const bool still_unfinished = outcome.unfinished || (outcome.broken && job_is_again_);
  if (!still_unfinished) forget_unfinished();
  if (still_unfinished && !unfinished_) keep_unfinished(job->batch());
  if (still_unfinished && job_is_again_) note_finish_attempt(outcome);
  const bool smooth = !outcome.broken && outcome.failures.empty() && outcome.collisions.empty();
  smooth ? recent_.forget(job->batch()) : recent_.clear();
  note_done(outcome, job->batch());
  for (const StepFailure& failure : outcome.failures) {
    note_failure(failure.node, failure.path, failure.why);
    if (failure.halfway) failures_.note_halfway(failure.node);
  }
  for (StepCollision& collision : outcome.collisions) collisions_.push_back(std::move(collision));
  for (DirectoryToList& to_list : outcome.to_list) lister_.refresh(to_list.node, std::move(to_list.path));
  if (!outcome.to_list.empty()) lister_.pump();
  if (outcome.broken) {
    note_broken(*outcome.broken, job->batch());
  } else if (outcome.done == 0 && outcome.failures.empty() && outcome.collisions.empty() && !unfinished_) {
    // Somebody else is at it. A plan that leads to nothing is not made again at once.
    idle_runs_ = std::min(idle_runs_ + 1, kMaxPushDoublings);
    link_retry_ = Clock::now() + kSoon * (1U << idle_runs_);
  } else {
    idle_runs_ = 0;
  }
  dirty_ = true;
  pump();
}

// What failed of the batch before it broke off, however often, was no attempt to finish it.
void Pusher::note_finish_attempt(const PushOutcome& outcome) {
  if (outcome.broken && is_link_error(*outcome.broken)) return;
  finish_retry_ = Clock::now() + push_backoff(finish_attempts_++);
}

void Pusher::note_done(const PushOutcome& outcome, const PushBatch& batch) {
  totals_.pushed_files += outcome.files;
  totals_.pushed_bytes += outcome.bytes_sent;
  totals_.bytes_saved += outcome.bytes_saved;
  const bool moved = batch.action == PushAction::kMove || batch.action == PushAction::kRenameDirectory ||
                     batch.action == PushAction::kLink || batch.action == PushAction::kReplace;
  if (moved) totals_.moves += outcome.done;
  if (batch.action == PushAction::kDelete) {
    totals_.deletes += outcome.done;
    deletions_.note_deleted(Clock::now(), outcome.done);
  }
  note_latency(outcome, batch);
  for (const NodeId node : outcome.pushed) failures_.erase(node);
  if (!outcome.broken) {
    link_failures_ = 0;
    batch_limit_ = std::min(batch_limit_ * 2, PushRules().max_steps);
  }
}

// A node that had several changes counts once for each that was pushed by itself.
void Pusher::note_latency(const PushOutcome& outcome, const PushBatch& batch) {
  const std::unordered_set<NodeId> pushed(outcome.pushed.begin(), outcome.pushed.end());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  for (const PushStep& step : batch.steps) {
    if (step.since_ms == 0 || !pushed.contains(step.node)) continue;
    const auto took = now - std::chrono::milliseconds(step.since_ms);
    latency_.note(std::max(took, std::chrono::system_clock::duration(0)));  // the clock may be set back
  }
}

void Pusher::note_broken(const Error& why, const PushBatch& batch) {
  if (is_read_only(why)) return tell_read_only(why);
  if (is_no_directory(why)) return stop("the source is no directory any more: " + why.message());
  if (const auto without = give_up_refused(why, pool_.features())) {
    log_warn("the server refuses an option: " + *without);
    return;
  }
  if (why.code() == Errc::kCanceled) {  // no session to be had: the pool says when
    wants_session_ = true;
    link_retry_ = Clock::now() + kFirstPushBackoff;
    return;
  }
  if (is_link_error(why)) {
    if (pool_.link().down()) return;
    // A server that is there but breaks off each time is not asked for ever.
    const auto pause = push_backoff(link_failures_);
    if (link_failures_++ > 0) link_retry_ = Clock::now() + pause;
    return;
  }
  if (why.code() == Errc::kUnsupported) {
    for (const PushStep& step : batch.steps) note_failure(step.node, step.path, why);
    return;
  }
  // The whole list failed for one of them: smaller ones show which.
  if (batch.steps.size() > 1 && !takes_several_sessions(batch)) {
    batch_limit_ = std::max<size_t>(1, std::min(batch_limit_, batch.steps.size()) / 4);
  } else {
    note_failure(batch.steps.front().node, batch.steps.front().path, why);
  }
}

void Pusher::note_failure(NodeId node, const std::string& path, const Error& why) {
  count_failure(totals_.failures, why.code());
  const PushFailure& failure = failures_.note(node, path, why);
  log_warn("not pushed: " + failure.text(Clock::now()));
  schedule(failure.until);
}

}  // namespace rsyncfs
