// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/paths_job.h"

#include <utility>

namespace rsyncfs {

void PathsJob::start() {
  reply_->on_gone([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->reply_ = nullptr;
    if (const auto walk = std::exchange(self->walk_, nullptr)) walk->cancel();
  });
  next();
}

void PathsJob::next() {
  if (!reply_) return;
  if (paths_.empty()) return over_(std::exchange(reply_, nullptr));
  const std::string path = std::move(paths_.front());
  paths_.pop_front();
  walk_ = std::make_shared<PathWalk>(
      context_, path, /*follow_last=*/true, [self = shared_from_this(), path](const Result<Node>& node) {
        self->walk_ = nullptr;
        if (!node) return self->done(path, node.error());
        self->context_.offload.run([self, node = *node] { return self->work_(node); },
                                   [self, path](const Result<void>& outcome) { self->done(path, outcome); });
      });
  walk_->start();
}

void PathsJob::done(const std::string& path, const Result<void>& outcome) {
  if (!reply_) return;
  if (!outcome) {
    reply_->send(
        {.kind = ControlAnswer::Kind::kFailedPath, .path = path, .reason = outcome.error().message()});
  }
  next();
}

}  // namespace rsyncfs
