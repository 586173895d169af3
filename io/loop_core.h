// SPDX-License-Identifier: GPL-3.0-or-later
// What both engines have in common: the turn of the loop, posted tasks, timers, and how an operation is
// completed.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "io/loop.h"
#include "io/post_queue.h"
#include "io/timer_queue.h"

namespace rsyncfs {

class LoopCore : public Loop {
 public:
  void post(Task task) final;
  TimerId run_after(std::chrono::nanoseconds delay, Task task) final;
  void cancel_timer(TimerId timer) final;
  void run() final;
  void stop() final;
  bool in_loop_thread() const final;

 protected:
  explicit LoopCore(UniqueFd wake) : posted_(std::move(wake)) {}

  // Starts what was asked for since the last turn; may complete what needs no waiting.
  virtual void start_pending() = 0;
  // start_pending() has something to do.
  virtual bool has_pending() const = 0;
  // Waits until something happens or `timeout` is over (no timeout: for ever), and completes what is done.
  virtual void wait(std::optional<std::chrono::nanoseconds> timeout) = 0;
  virtual void begin_run() = 0;
  // Cancels everything under way, waits until nothing uses the callers' buffers, and drops the completions.
  virtual void end_run() = 0;

  // Aborts when another thread than the one in run() starts or cancels something.
  void check_thread() const;
  OpId new_op_id() { return ++last_op_; }
  // Counts and calls. `outcome`: bytes (accept: the descriptor), or -errno.
  void complete(IoOp op, IoDone& done, int64_t outcome);
  // For the engine's destructor, while it can still take calls from what the tasks captured.
  void drop_tasks();

  PostQueue posted_;

 private:
  std::optional<std::chrono::nanoseconds> time_to_wait();

  TimerQueue timers_;
  OpId last_op_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<std::thread::id> thread_{};
};

}  // namespace rsyncfs
