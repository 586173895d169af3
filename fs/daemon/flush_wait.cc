// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/flush_wait.h"

#include <algorithm>
#include <utility>

#include "fs/control/text_lines.h"

namespace rsyncfs {
namespace {

std::string seconds_text(std::chrono::milliseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
}

// The source's own word for a path, where it has one.
std::string failure_of(const std::string& path, const PushStatus& push) {
  for (const std::string& failing : push.failing) {
    if (failing.starts_with(path + ": ")) return failing.substr(path.size() + 2);
  }
  return "";
}

}  // namespace

void FlushWait::start(UniqueFunction<void(const JobProgress&)> progress,
                      UniqueFunction<void(FlushOutcome)> done) {
  progress_ = std::move(progress);
  done_ = std::move(done);
  begin_ = last_progress_ = Clock::now();
  request_ = context_.syncer.flush(scope_.below, [self = shared_from_this()](const Result<void>& flushed) {
    if (self->is_over() || self->ending_) return;
    if (!flushed) return self->give_up(flushed.error().message());
    std::exchange(self->done_, nullptr)({.all_sent = true});
  });
  tick_later();
}

void FlushWait::limit_to(std::chrono::milliseconds limit) {
  limits_.whole = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin_) + limit;
}

void FlushWait::give_up(std::string reason) {
  if (is_over() || ending_) return;
  ending_ = true;
  context_.syncer.cancel(request_);
  context_.syncer.status(
      [self = shared_from_this(), reason = std::move(reason)](const SyncerStatus& status) mutable {
        self->context_.offload.run(
            [self, push = status.push]() -> Result<UnsentChanges> {
              Result<UnsentChanges> left = unsent_changes(self->context_.replica, self->context_.local_only,
                                                          self->scope_.path, kMaxUnsentNamed);
              if (!left) return left;
              for (UnsentChange& change : left->first) {
                const std::string failure = failure_of(change.path, push);
                if (!failure.empty()) change.what += ": " + failure;
              }
              return left;
            },
            [self, reason = std::move(reason)](Result<UnsentChanges> left) mutable {
              if (self->is_over()) return;
              FlushOutcome outcome{.reason = std::move(reason)};
              if (left) outcome.left = std::move(left.value());
              std::exchange(self->done_, nullptr)(std::move(outcome));
            });
      });
}

void FlushWait::cancel() {
  done_ = nullptr;
  if (!ending_) context_.syncer.cancel(request_);
}

void FlushWait::tick_later() {
  loop_.run_after(kProgressInterval, [self = shared_from_this()] {
    if (self->is_over() || self->ending_) return;
    self->context_.syncer.status([self](const SyncerStatus& status) { self->on_status(status); });
  });
}

void FlushWait::on_status(const SyncerStatus& status) {
  if (is_over() || ending_) return;
  note_progress(status);
  const auto now = Clock::now();
  if (limits_.whole && now - begin_ >= *limits_.whole) {
    return give_up("not within " + seconds_text(*limits_.whole));
  }
  if (limits_.offline && status.link != LinkState::kUp && now - last_progress_ >= *limits_.offline) {
    return give_up("the source cannot be reached" +
                   (status.last_error.empty() ? "" : ": " + status.last_error));
  }
  progress_(shown_);
  tick_later();
}

// Changes come while others go: what was ever seen pending is the total, and it does not shrink.
void FlushWait::note_progress(const SyncerStatus& status) {
  const PushStatus& push = status.push;
  uint64_t under_way = 0;
  for (const TransferStatus& transfer : push.sending) under_way += transfer.done_bytes;
  const uint64_t sent = push.pushed_bytes + push.bytes_saved + push.deletes + push.moves + under_way;
  const uint64_t pending = pending_changes(push);
  const uint64_t pending_bytes = push.pending_bytes - std::min(push.pending_bytes, under_way);
  if (sent > most_sent_bytes_ || shown_.files_total - shown_.files_done > pending)
    last_progress_ = Clock::now();
  most_sent_bytes_ = std::max(most_sent_bytes_, sent);
  shown_.files_total = std::max(shown_.files_total, shown_.files_done + pending);
  shown_.files_done = shown_.files_total - pending;
  shown_.bytes_total = std::max(shown_.bytes_total, shown_.bytes_done + pending_bytes);
  shown_.bytes_done = shown_.bytes_total - pending_bytes;
  shown_.files_failed = push.failing.size();
}

}  // namespace rsyncfs
