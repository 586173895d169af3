// SPDX-License-Identifier: GPL-3.0-or-later
// Brings what is known of a path, and of all below it, to what the source has now.
#pragma once

#include <memory>
#include <string>

#include "fs/daemon/path_walk.h"

namespace rsyncfs {

// Loop thread only. Of what is not known here the source may have something by now: then the nearest
// directory above it that is known is listed.
class PathRefresh : public std::enable_shared_from_this<PathRefresh> {
 public:
  PathRefresh(WalkContext context, std::string path, Done<void> done)
      : context_(context), path_(std::move(path)), done_(std::move(done)) {}
  void start();
  // `done` is not called any more.
  void cancel();

 private:
  void found(const Result<Node>& node);
  void finish(const Result<void>& result);

  WalkContext context_;
  std::string path_;
  Done<void> done_;
  std::shared_ptr<PathWalk> walk_;
  RequestId request_ = 0;
};

}  // namespace rsyncfs
