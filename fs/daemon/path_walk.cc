// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/path_walk.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

namespace rsyncfs {
namespace {

// Components in reverse: the next one is at the back.
std::vector<std::string> reversed_components(const std::string& path) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t slash = std::min(path.find('/', begin), path.size());
    if (slash > begin) parts.push_back(path.substr(begin, slash - begin));
    begin = slash + 1;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

// Where a walk over the store alone has come to: its end, or a directory whose names are not known.
struct PathWalk::Outcome {
  Position position;
  std::optional<NodeId> unlisted;
  std::optional<Result<Node>> end;
};

PathWalk::PathWalk(WalkContext context, std::string path, bool follow_last, Done<Node> done)
    : context_(context), path_(std::move(path)), follow_last_(follow_last), done_(std::move(done)) {
  position_.above.push_back(kRootNode);
  position_.rest = reversed_components(path_);
}

void PathWalk::step() {
  request_ = 0;
  context_.offload.run(
      [context = context_, position = position_, follow_last = follow_last_]() mutable {
        return walk(context, std::move(position), follow_last);
      },
      [self = shared_from_this()](Outcome outcome) { self->on_step(std::move(outcome)); });
}

PathWalk::Outcome PathWalk::walk(const WalkContext& context, Position position, bool follow_last) {
  const auto ended = [&](Result<Node> result) {
    return Outcome{std::move(position), std::nullopt, std::move(result)};
  };
  for (;;) {
    Result<Node> here = context.replica.node(position.above.back());
    if (!here || position.rest.empty()) return ended(std::move(here));
    if (!S_ISDIR(here->attr.mode)) return ended(Error(Errc::kNotDirectory, "not a directory"));
    if (position.rest.back() == "..") {
      if (position.above.size() == 1)
        return ended(Error(Errc::kUsage, "a symbolic link leads out of the mount"));
      position.above.pop_back();
      position.rest.pop_back();
      continue;
    }
    if (!context.syncer.may_answer_listing(*here))
      return Outcome{std::move(position), here->id, std::nullopt};
    Result<Node> next = context.replica.lookup(here->id, position.rest.back());
    if (!next) return ended(std::move(next));
    position.rest.pop_back();
    if (S_ISLNK(next->attr.mode)) {
      if (position.rest.empty() && !follow_last) return ended(std::move(next));
      const Result<std::string> target = context.replica.link_target(next->id);
      if (!target) return ended(target.error());
      if (const Result<void> followed = follow(*target, position); !followed) return ended(followed.error());
    } else {
      position.above.push_back(next->id);
    }
  }
}

Result<void> PathWalk::follow(const std::string& target, Position& position) {
  if (++position.symlinks > kMaxSymlinks) return Error::os(ELOOP, "symbolic links");
  if (target.empty() || target.front() == '/')
    return Error(Errc::kUsage, "a symbolic link leads out of the mount");
  for (std::string& part : reversed_components(target)) {
    if (part != ".") position.rest.push_back(std::move(part));
  }
  return {};
}

void PathWalk::on_step(Outcome outcome) {
  if (!done_) return;
  position_ = std::move(outcome.position);
  if (outcome.end) {
    auto done = std::exchange(done_, nullptr);
    return done(std::move(*outcome.end));
  }
  const NodeId directory = *outcome.unlisted;
  if (directory == listed_) {
    auto done = std::exchange(done_, nullptr);
    return done(Error(Errc::kTimedOut, "the directory keeps changing"));
  }
  listed_ = directory;
  request_ =
      context_.syncer.list_directory(directory, [self = shared_from_this()](const Result<void>& listed) {
        if (!self->done_) return;
        if (listed) return self->step();
        auto done = std::exchange(self->done_, nullptr);
        done(listed.error());
      });
}

void PathWalk::cancel() {
  done_ = nullptr;
  if (request_ != 0) context_.syncer.cancel(request_);
}

}  // namespace rsyncfs
