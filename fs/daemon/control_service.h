// SPDX-License-Identifier: GPL-3.0-or-later
// Answers the requests of the control socket from the parts of a running mount.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "fs/control/metrics_server.h"
#include "fs/control/server.h"
#include "fs/control/status_document.h"
#include "fs/daemon/drain.h"
#include "fs/daemon/mapped_files.h"
#include "fs/daemon/mount_events.h"
#include "fs/daemon/offload.h"
#include "fs/daemon/path_walk.h"
#include "fs/daemon/pin_keeper.h"
#include "fs/fuse/front.h"
#include "fs/tree/tree.h"

namespace rsyncfs {

// What does not change while the mount lives.
struct MountFacts {
  std::string source;       // canonical
  std::string source_path;  // what the source calls the root: "rsync://host/module/path" or "host:path"
  std::string mountpoint;
  std::string state_directory;
  std::string io_reason;
  int64_t started_at_s = 0;
  bool writable = false;
  bool keeps_changes = false;  // stays writable though the source takes no changes
};

class ControlService final : public ControlHandler {
 public:
  // `unmount` starts an unmount (any thread may call its Done) and must not block.
  using Unmount = std::function<void(bool lazy, Done<void> done)>;

  // All must outlive the loop's run, and call close() before they end.
  ControlService(Loop& loop, Executor& executor, Replica& replica, Syncer& syncer, Tree& tree,
                 MountEvents& events, MappedFiles& mapped, MountFacts facts, Unmount unmount);
  ~ControlService() override;

  // Main thread: the Front while there is one.
  void set_front(Front* front);
  void handle(ControlRequest request, std::shared_ptr<ControlReply> reply) override;
  // Loop thread. The metrics page, as of now.
  void tell_metrics(MetricsServer::Answer answer);
  // For the loop thread, but for what it says itself.
  Drain& drain() { return drain_; }
  PinKeeper& pins() { return pins_; }
  // After the loop's run has ended: nothing of this works on the executor any more.
  void wait_idle() { offload_.wait_idle(); }

 private:
  void answer_status(const std::shared_ptr<ControlReply>& reply);
  void answer_info(std::string path, const std::shared_ptr<ControlReply>& reply);
  void answer_free(const ControlRequest& request, std::shared_ptr<ControlReply> reply);
  void answer_pin(const ControlRequest& request, std::shared_ptr<ControlReply> reply);
  void answer_unpin(const ControlRequest& request, std::shared_ptr<ControlReply> reply);
  void answer_flush(ControlRequest request, const std::shared_ptr<ControlReply>& reply);
  void flush(FlushWait::Scope scope, std::optional<std::chrono::milliseconds> limit,
             const std::shared_ptr<ControlReply>& reply);
  void answer_refresh(std::string path, const std::shared_ptr<ControlReply>& reply);
  void answer_conflicts(bool clear, const std::shared_ptr<ControlReply>& reply);
  void answer_resume(const std::shared_ptr<ControlReply>& reply);
  void answer_unmount(const ControlRequest& request, std::shared_ptr<ControlReply> reply);
  MountStatus describe(SyncerStatus syncer, const ReplicaStatistics& cache);
  void describe_front(MountStatus& status);

  Loop& loop_;
  Replica& replica_;
  Tree& tree_;
  MountEvents& events_;
  MappedFiles& mapped_;
  MountFacts facts_;
  Unmount unmount_;
  Offload offload_;
  WalkContext context_;
  Drain drain_;
  PinKeeper pins_;
  std::mutex front_mutex_;  // guards front_
  Front* front_ = nullptr;
};

}  // namespace rsyncfs
