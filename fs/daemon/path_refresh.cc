// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/path_refresh.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {

void PathRefresh::start() {
  walk_ = std::make_shared<PathWalk>(
      context_, path_, /*follow_last=*/true,
      [self = shared_from_this()](const Result<Node>& node) { self->found(node); });
  walk_->start();
}

void PathRefresh::found(const Result<Node>& node) {
  walk_ = nullptr;
  const bool unknown = !node && !path_.empty() &&
                       (node.error().code() == Errc::kNotFound || node.error().code() == Errc::kVanished);
  const bool no_directory = node && !S_ISDIR(node->attr.mode);
  if (unknown || no_directory) {
    const size_t slash = path_.rfind('/');
    path_ = slash == std::string::npos ? std::string() : path_.substr(0, slash);
    return start();
  }
  if (!node) return finish(node.error());
  request_ = context_.syncer.refresh(
      node->id, [self = shared_from_this()](const Result<void>& listed) { self->finish(listed); });
}

void PathRefresh::finish(const Result<void>& result) {
  request_ = 0;
  if (auto done = std::exchange(done_, nullptr)) done(result);
}

void PathRefresh::cancel() {
  done_ = nullptr;
  if (const auto walk = std::exchange(walk_, nullptr)) walk->cancel();
  if (request_ != 0) context_.syncer.cancel(request_);
}

}  // namespace rsyncfs
