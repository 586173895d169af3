// SPDX-License-Identifier: GPL-3.0-or-later
// From a path inside the mount to its node, asking the source for directories that were not listed yet.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/daemon/offload.h"
#include "io/base/result.h"
#include "sync/engine/local_only.h"
#include "sync/engine/syncer.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// What walks and fetches work with. All outlive the loop's run.
struct WalkContext {
  Replica& replica;
  Syncer& syncer;
  Offload& offload;
  const LocalOnly& local_only;
};

// Loop thread only. Symbolic links within the mount are followed, the last one only if so asked.
class PathWalk : public std::enable_shared_from_this<PathWalk> {
 public:
  static constexpr int kMaxSymlinks = 40;

  PathWalk(WalkContext context, std::string path, bool follow_last, Done<Node> done);
  void start() { step(); }
  // `done` is not called any more.
  void cancel();

 private:
  struct Outcome;
  struct Position {
    std::vector<NodeId> above;      // directories from the root to where we are
    std::vector<std::string> rest;  // components still to come, last first
    int symlinks = 0;
  };

  void step();
  void on_step(Outcome outcome);
  static Outcome walk(const WalkContext& context, Position position, bool follow_last);
  static Result<void> follow(const std::string& target, Position& position);

  WalkContext context_;
  std::string path_;
  bool follow_last_;
  Done<Node> done_;
  Position position_;
  NodeId listed_ = 0;  // the directory that was just listed: it need not be asked for again
  RequestId request_ = 0;
};

}  // namespace rsyncfs
