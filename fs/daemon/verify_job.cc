// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/verify_job.h"

#include <sys/stat.h>

#include <utility>

#include "io/base/text.h"

namespace rsyncfs {
namespace {

using Kind = ControlAnswer::Kind;

bool is_silence(const Error& error) {
  return error.code() == Errc::kUnreachable || error.code() == Errc::kTimedOut ||
         error.code() == Errc::kDisconnected;
}

}  // namespace

VerifyJob::VerifyJob(Loop& loop, WalkContext context, SyncerEvents& events, const ControlRequest& request,
                     std::shared_ptr<ControlReply> reply)
    : loop_(loop),
      context_(context),
      events_(events),
      to_walk_(request.paths.begin(), request.paths.end()),
      reply_(std::move(reply)),
      check_(std::make_shared<StoreCheck>(context.replica)) {
  totals_.remote = request.remote;
  if (request.remote) to_refresh_ = to_walk_;
}

void VerifyJob::start() {
  reply_->on_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->cancel();
  });
  progress_.counting = true;
  show_progress_later();
  context_.syncer.status([self = shared_from_this()](const SyncerStatus& before) {
    self->sent_before_ = before.bytes_out;
    self->received_before_ = before.bytes_in;
    self->check_records();
  });
}

// Nobody's bytes, but what is known of them.
void VerifyJob::check_records() {
  context_.offload.run(
      [&replica = context_.replica] { return replica.check_records(); },
      [self = shared_from_this()](const Result<void>& checked) {
        if (!checked) {
          const std::string way_out =
              "; to begin anew: rsyncfs flush, unmount, and remove " + self->context_.replica.directory();
          self->fail_path("", Error(checked.error().code(), checked.error().message() + way_out));
        }
        self->refresh_next_path();
      });
}

void VerifyJob::refresh_next_path() {
  if (!reply_) return;
  if (to_refresh_.empty()) return walk_next_path();
  std::string path = std::move(to_refresh_.front());
  to_refresh_.pop_front();
  refresh_ = std::make_shared<PathRefresh>(context_, std::move(path),
                                           [self = shared_from_this()](const Result<void>& listed) {
                                             self->refresh_ = nullptr;
                                             if (!listed) return self->give_up(listed.error());
                                             self->refresh_next_path();
                                           });
  refresh_->start();
}

void VerifyJob::walk_next_path() {
  if (!reply_) return;
  if (to_walk_.empty()) return step();
  const std::string path = std::move(to_walk_.front());
  to_walk_.pop_front();
  walk_ = std::make_shared<PathWalk>(
      context_, path, /*follow_last=*/true, [self = shared_from_this(), path](const Result<Node>& node) {
        self->walk_ = nullptr;
        if (!node) {
          self->fail_path(path, node.error());
        } else if (!S_ISDIR(node->attr.mode) && !S_ISREG(node->attr.mode)) {
          self->fail_path(path, Error(Errc::kUsage, "not a file or directory"));
        } else {
          self->check_->add(*node, path);
        }
        self->walk_next_path();
      });
  walk_->start();
}

void VerifyJob::step() {
  if (!reply_ || stepping_ || read_through_ || in_flight_.size() >= kMaxInFlight) return;
  stepping_ = true;
  context_.offload.run(
      [check = check_] { return check->step(); },
      [self = shared_from_this()](StoreCheck::Step step) { self->on_step(std::move(step)); });
}

void VerifyJob::on_step(StoreCheck::Step step) {
  stepping_ = false;
  if (!reply_) return;
  read_through_ = step.over;
  progress_.files_total = step.files_total;
  progress_.bytes_total = step.bytes_total;
  progress_.counting = step.counting;
  for (const auto& [path, error] : step.failed) fail_path(path, error);
  for (CheckedFile& file : step.files) take(std::move(file));
  this->step();
  finish_if_over();
}

void VerifyJob::take(CheckedFile checked) {
  const auto file = std::make_shared<const CheckedFile>(std::move(checked));
  progress_.bytes_done += file->read_bytes;
  if (file->nothing_here() && !file->lost) {
    ++totals_.not_here;
    return done();
  }
  ++totals_.checked;
  totals_.checked_bytes += file->read_bytes;
  if (file->lost) {
    ++totals_.lost;
    ++progress_.files_failed;
    tell(file->path, "lost: " + file->lost->message());
  }
  if (file->damaged()) {
    ++totals_.damaged;
    const std::string was = human_bytes(file->content->damaged_bytes) + " damaged";
    if (file->content->was_complete) return restore(file, was, /*differed=*/false);
    tell(file->path, was + "; fetched when it is next read");
  }
  compare(file);
}

// It was all here, so it is again. Nothing is lost if that fails.
void VerifyJob::restore(const FilePtr& file, const std::string& was, bool differed) {
  ask<void>(
      [this, file](Done<void> answer) { return context_.syncer.hydrate(file->node, std::move(answer)); },
      [this, file, was, differed](const Result<void>& fetched) {
        // The kernel may have pages of before.
        if (fetched || differed) events_.on_content_changed(file->node);
        if (!fetched) {
          tell(file->path, was + "; fetched when it is next read, because: " + fetched.error().message());
        } else {
          if (!differed) ++totals_.restored;
          tell(file->path, was + "; fetched again");
        }
        if (fetched && !differed) return compare(file);
        if (!differed && totals_.remote) ++totals_.partly_here;
        done();
      });
}

void VerifyJob::compare(const FilePtr& file) {
  if (!totals_.remote) return done();
  const bool complete = file->complete || (file->damaged() && file->content->was_complete);
  if (file->changed_here || !file->content || !complete) {
    ++(file->changed_here ? totals_.changed_here : totals_.partly_here);
    return done();
  }
  ask<Comparison>(
      [this, file](Done<Comparison> answer) {
        return context_.syncer.compare(file->node, std::move(answer));
      },
      [this, file](const Result<Comparison>& outcome) { compared(file, outcome); });
}

void VerifyJob::compared(const FilePtr& file, const Result<Comparison>& outcome) {
  if (!outcome) {
    // Let go, or written to, in this moment.
    if (outcome.error().code() == Errc::kNotFound || outcome.error().code() == Errc::kRefused) {
      ++(outcome.error().code() == Errc::kRefused ? totals_.changed_here : totals_.partly_here);
      return done();
    }
    ++totals_.uncompared;
    tell(file->path, "not compared: " + outcome.error().message());
    return done();
  }
  switch (*outcome) {
    case Comparison::kEqual:
      ++totals_.equal;
      totals_.equal_bytes += file->size;
      return done();
    case Comparison::kDiffers:
      ++totals_.differing;
      return drop_differing(file);
    case Comparison::kChanged:
      ++totals_.changed;
      tell(file->path, "changed while it was compared");
      return done();
    case Comparison::kGone:
      ++totals_.changed;
      tell(file->path, "vanished from the source while it was compared");
      return done();
  }
}

// What the source has is what counts.
void VerifyJob::drop_differing(const FilePtr& file) {
  const uint64_t ticket = ++last_ticket_;
  in_flight_[ticket] = 0;
  context_.offload.run(
      [&replica = context_.replica, node = file->node] { return replica.drop_content(node); },
      [self = shared_from_this(), file, ticket](const Result<void>& dropped) {
        self->in_flight_.erase(ticket);
        if (!self->reply_) return;
        if (dropped) return self->restore(file, "differs from the source", true);
        self->tell(file->path, "differs from the source: " + dropped.error().message());
        self->done();
      });
}

template <class T, class Ask>
void VerifyJob::ask(Ask ask_for, UniqueFunction<void(Result<T>)> then) {
  const uint64_t ticket = ++last_ticket_;
  in_flight_[ticket] = 0;
  auto answered = [self = shared_from_this(), ticket, then = std::move(then)](Result<T> result) mutable {
    self->in_flight_.erase(ticket);
    if (!self->reply_) return;
    self->note_answer(result ? nullptr : &result.error());
    then(std::move(result));
  };
  if (source_is_away_) {
    loop_.post([answered = std::move(answered), why = *source_is_away_]() mutable { answered(why); });
    return;
  }
  const RequestId request = ask_for(Done<T>(std::move(answered)));
  if (const auto entry = in_flight_.find(ticket); entry != in_flight_.end()) entry->second = request;
}

// Each would wait for the source as long as the first did.
void VerifyJob::note_answer(const Error* error) {
  if (error == nullptr || !is_silence(*error)) {
    unanswered_ = 0;
  } else if (++unanswered_ >= kMaxUnanswered || error->code() == Errc::kUnreachable) {
    source_is_away_ = *error;
  }
}

void VerifyJob::done() {
  ++progress_.files_done;
  step();
  finish_if_over();
}

void VerifyJob::tell(const std::string& path, std::string what) {
  if (++findings_ > kMaxFindings || !reply_) return;
  reply_->send({.kind = Kind::kFinding, .path = path, .reason = std::move(what)});
}

void VerifyJob::fail_path(const std::string& path, const Error& error) {
  ++totals_.failed;
  ++progress_.files_failed;
  if (++findings_ > kMaxFindings || !reply_) return;
  reply_->send({.kind = Kind::kFailedPath, .path = path, .reason = error.message()});
}

void VerifyJob::finish_if_over() {
  if (!reply_ || !read_through_ || stepping_ || !in_flight_.empty()) return;
  if (progress_.files_done < progress_.files_total) return;
  context_.syncer.status([self = shared_from_this()](const SyncerStatus& after) { self->finish(after); });
}

void VerifyJob::finish(const SyncerStatus& after) {
  const auto reply = std::exchange(reply_, nullptr);
  if (!reply) return;
  totals_.sent_bytes = after.bytes_out - sent_before_;
  totals_.received_bytes = after.bytes_in - received_before_;
  if (!totals_.remote) totals_.not_here = totals_.sent_bytes = totals_.received_bytes = 0;
  reply->finish({.kind = Kind::kDone, .progress = progress_, .document = verify_json(totals_)});
}

void VerifyJob::give_up(const Error& why) {
  if (const auto reply = std::exchange(reply_, nullptr))
    reply->finish({.kind = Kind::kFailed, .reason = "nothing was compared: " + why.message()});
}

void VerifyJob::show_progress_later() {
  loop_.run_after(kProgressInterval, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->reply_) return;
    self->reply_->send({.kind = Kind::kProgress, .progress = self->progress_});
    self->show_progress_later();
  });
}

void VerifyJob::cancel() {
  reply_ = nullptr;
  check_->cancel();
  if (const auto walk = std::exchange(walk_, nullptr)) walk->cancel();
  if (const auto refresh = std::exchange(refresh_, nullptr)) refresh->cancel();
  for (const auto& [ticket, request] : in_flight_) {
    if (request != 0) context_.syncer.cancel(request);
  }
}

}  // namespace rsyncfs
