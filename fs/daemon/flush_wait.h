// SPDX-License-Identifier: GPL-3.0-or-later
// Waits until local changes are on the source, within a limit, and tells what is left: for `flush`, and for
// what follows every unmount.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "fs/control/protocol.h"
#include "fs/daemon/path_walk.h"
#include "fs/daemon/unsent_changes.h"

namespace rsyncfs {

struct FlushOutcome {
  bool all_sent = false;
  // Otherwise: why no longer was waited, and what is left.
  std::string reason = {};
  UnsentChanges left = {};
};

// Loop thread only. Keeps itself alive until its end.
class FlushWait : public std::enable_shared_from_this<FlushWait> {
 public:
  static constexpr std::chrono::milliseconds kProgressInterval{200};

  struct Scope {
    std::optional<NodeId> below;  // nullopt: everything
    std::string path;             // of it
  };
  struct Limits {
    std::optional<std::chrono::milliseconds> whole;
    // Without a connection and without progress no longer than this.
    std::optional<std::chrono::milliseconds> offline;
  };

  FlushWait(Loop& loop, WalkContext context, Scope scope, Limits limits)
      : loop_(loop), context_(context), scope_(std::move(scope)), limits_(limits) {}

  // `done` exactly once, unless cancel() comes first. `progress` counts the changes of the whole mount.
  void start(UniqueFunction<void(const JobProgress&)> progress, UniqueFunction<void(FlushOutcome)> done);
  // From now on.
  void limit_to(std::chrono::milliseconds limit);
  // Ends the wait as if its limit were over.
  void give_up(std::string reason);
  void cancel();

 private:
  void tick_later();
  void on_status(const SyncerStatus& status);
  void note_progress(const SyncerStatus& status);
  bool is_over() const { return !done_; }

  Loop& loop_;
  WalkContext context_;
  const Scope scope_;
  Limits limits_;
  UniqueFunction<void(const JobProgress&)> progress_;
  UniqueFunction<void(FlushOutcome)> done_;
  RequestId request_ = 0;
  bool ending_ = false;  // what is left is being looked up
  Clock::time_point begin_{};
  Clock::time_point last_progress_{};
  JobProgress shown_;
  uint64_t most_sent_bytes_ = 0;
};

}  // namespace rsyncfs
