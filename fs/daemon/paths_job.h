// SPDX-License-Identifier: GPL-3.0-or-later
// Work on each of some paths, one after the other, and then an answer: `free`, `pin`, `unpin`.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/control/server.h"
#include "fs/daemon/path_walk.h"

namespace rsyncfs {

// Loop thread only. Lives until its last answer is given or its client has gone.
class PathsJob : public std::enable_shared_from_this<PathsJob> {
 public:
  // On the executor.
  using Work = std::function<Result<void>(const Node& node)>;
  // On the loop, unless the client has gone: gives the last answer.
  using Over = std::function<void(std::shared_ptr<ControlReply> reply)>;

  PathsJob(WalkContext context, const std::vector<std::string>& paths, std::shared_ptr<ControlReply> reply,
           Work work, Over over)
      : context_(context),
        paths_(paths.begin(), paths.end()),
        reply_(std::move(reply)),
        work_(std::move(work)),
        over_(std::move(over)) {}
  void start();

 private:
  void next();
  void done(const std::string& path, const Result<void>& outcome);

  WalkContext context_;
  std::deque<std::string> paths_;
  std::shared_ptr<ControlReply> reply_;  // null at the end
  Work work_;
  Over over_;
  std::shared_ptr<PathWalk> walk_;
};

}  // namespace rsyncfs
