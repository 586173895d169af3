// SPDX-License-Identifier: GPL-3.0-or-later
// Sees to it that what the source changes is seen here: directories in use are listed again together every
// second or so, one that is used after a rest at once; the whole tree as often as its size allows.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "sync/engine/directories_in_use.h"
#include "sync/engine/lister.h"
#include "sync/engine/poll_pace.h"
#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread, but for touch(). Must be destroyed on the loop thread, or after the loop has ended.
class Poller {
 public:
  static constexpr size_t kMaxDirectories = 256;  // of one round
  static constexpr size_t kMaxPending = 32;       // of them for what waits to be pushed

  Poller(const EngineContext& context, const SessionPool& pool, Lister& lister);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // Any thread, cheap: somebody looked into this directory.
  void touch(NodeId directory);
  // Any thread: nothing follows from touching a directory again so soon.
  std::chrono::milliseconds use_holds_for() const { return hold_.load(std::memory_order_relaxed); }
  // The first list of the root has come.
  void start();
  void stop();
  // A list has come, which may have set the pace.
  void listed() { schedule(); }

  void describe(SyncerStatus& status) const;

 private:
  void wake();
  void round(Clock::time_point now, std::chrono::milliseconds older_than);
  void add_pending(std::vector<NodeId>& directories) const;
  void schedule();
  void schedule_at(Clock::time_point due);
  bool off() const { return context_.options.poll.mode == PollOptions::Mode::kOff; }
  std::chrono::milliseconds tree_every() const;
  Clock::time_point next_sweep() const;
  std::chrono::milliseconds hold() const;

  EngineContext context_;
  const SessionPool& pool_;
  Lister& lister_;
  DirectoriesInUse in_use_;
  std::atomic<bool> touched_{false};  // and the loop is told
  std::atomic<std::chrono::milliseconds> hold_;
  bool started_ = false;
  bool used_again_ = false;  // a directory after a rest
  Clock::time_point last_round_{};
  Clock::time_point next_round_{};
  TimerId timer_ = 0;
  Clock::time_point due_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
