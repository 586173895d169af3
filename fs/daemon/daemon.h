// SPDX-License-Identifier: GPL-3.0-or-later
// One mount, from its store to its end: makes the parts, wires them, and takes them apart again in the right
// order.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "fs/control/metrics_server.h"
#include "fs/control/mount_record.h"
#include "fs/control/server.h"
#include "fs/daemon/control_service.h"
#include "fs/daemon/main_thread.h"
#include "fs/daemon/mapped_files.h"
#include "fs/daemon/mount_events.h"
#include "fs/daemon/mount_plan.h"
#include "fs/daemon/service_notice.h"
#include "fs/daemon/use_scanner.h"
#include "fs/fuse/front.h"
#include "fs/fuse/notifier.h"
#include "fs/tree/tree.h"
#include "io/executor.h"
#include "io/loop.h"
#include "sync/engine/syncer.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// Main thread only. run() blocks until the mount has ended.
class Daemon {
 public:
  static constexpr unsigned kExecutorThreads = 3;
  // A daemon that is just ending may still hold the store and the mountpoint's name.
  static constexpr std::chrono::seconds kPredecessorLimit{5};
  // A store that knows the tree waits no longer for the source before it shows it.
  static constexpr std::chrono::seconds kOfflineGrace{3};
  static constexpr std::chrono::seconds kInitLimit{20};
  static constexpr std::chrono::seconds kShutDownLimit{15};
  static constexpr std::chrono::milliseconds kPurgeLimit{500};
  static constexpr int kHandOverLimitMs = 500;

  Daemon(MountPlan plan, MainThread main_thread, ServiceNotice notice);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Ok: usable. Otherwise the cause, in one line; nothing is mounted.
  Result<void> start();
  // Lines for the user that came up in start().
  const std::vector<std::string>& notes() const { return notes_; }
  // Until the mount is gone, by whomever.
  void run();

 private:
  // False when `failure` is not that another daemon holds what is needed, or holds it for too long.
  bool wait_for_predecessor(const Error& failure, Clock::time_point end);
  // One that is unmounted, and still sends, leaves the rest to us.
  void ask_predecessor_to_end() const;
  Result<void> open_store();
  Result<void> start_loop();
  Result<void> make_contact();
  Result<void> judge_first_contact(const std::optional<Error>& failure);
  Result<void> mount();
  void record_mount();
  void start_scanner();
  void note_uses(const FoundUses& found);
  Result<void> open_control();
  Result<void> open_metrics();
  void close_metrics();
  CacheLimits cache_limits();
  SyncerOptions syncer_options();
  FrontOptions front_options() const;
  void unmount_for(bool lazy, Done<void> done);
  // Tells the service manager that we live, if the loop does.
  void show_life();
  void obey_signal();
  void note_read_only_source();
  void drain();
  void log_outcome(const FlushOutcome& outcome) const;
  void shut_down();
  void end_syncer();
  void end_control();
  void remove_unused_store();
  // Runs `work(done)` on the loop and waits for `done`; false when the limit is over.
  bool wait_for_loop(std::chrono::milliseconds limit, UniqueFunction<void(Task)> work);

  MountPlan plan_;
  MountRecord record_;
  bool has_claim_ = false;  // socket and record
  MainThread main_;
  ServiceNotice notice_;
  std::shared_ptr<std::atomic<bool>> loop_lives_ = std::make_shared<std::atomic<bool>>(true);
  std::vector<std::string> notes_;
  bool knows_tree_ = false;  // when it was opened, the store had listed the root before
  std::string io_reason_;
  MappedFiles mapped_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Loop> loop_;
  std::thread loop_thread_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Notifier> notifier_;
  std::unique_ptr<MountEvents> events_;
  std::unique_ptr<Syncer> syncer_;
  bool syncer_started_ = false;
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<ControlService> service_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<MetricsServer> metrics_;
  ino_t metrics_socket_ = 0;  // the one that is ours to remove
  bool control_started_ = false;
  WatchedNodes watched_;
  std::unique_ptr<Front> front_;
  std::unique_ptr<UseScanner> scanner_;
  std::thread unmounter_;         // takes the mount away for `rsyncfs umount`
  bool refuses_changes_ = false;  // the source does
  bool ended_ = false;
  bool was_usable_ = false;
};

}  // namespace rsyncfs
