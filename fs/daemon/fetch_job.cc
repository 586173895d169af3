// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/fetch_job.h"

#include <utility>

namespace rsyncfs {

void FetchJob::start() {
  Hydration::Listener listener;
  listener.failed = [self = shared_from_this()](const std::string& path, const Error& error) {
    self->fail(path, error);
  };
  listener.over = [self = shared_from_this()](const JobProgress& progress) {
    if (const auto reply = std::exchange(self->reply_, nullptr))
      reply->finish({.kind = ControlAnswer::Kind::kDone, .progress = progress});
  };
  const auto hydration = std::make_shared<Hydration>(context_, kMaxInFlight, std::move(listener));
  hydration_ = hydration;
  reply_->on_gone([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->reply_ = nullptr;
    if (const auto alive = self->hydration_.lock()) alive->cancel();
  });
  for (std::string& path : paths_) hydration->add_path(std::move(path));
  show_progress_later();
  hydration->start();
}

void FetchJob::fail(const std::string& path, const Error& error) {
  if (++failures_ > kMaxReportedFailures || !reply_) return;
  reply_->send({.kind = ControlAnswer::Kind::kFailedPath, .path = path, .reason = error.message()});
}

void FetchJob::show_progress_later() {
  loop_.run_after(kProgressInterval, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->reply_) return;
    self->context_.syncer.status([self](const SyncerStatus& status) { self->show_progress(status); });
  });
}

void FetchJob::show_progress(const SyncerStatus& status) {
  const auto hydration = hydration_.lock();
  if (!reply_ || !hydration) return;
  reply_->send({.kind = ControlAnswer::Kind::kProgress, .progress = hydration->progress(status)});
  show_progress_later();
}

}  // namespace rsyncfs
