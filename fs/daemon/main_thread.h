// SPDX-License-Identifier: GPL-3.0-or-later
// The daemon's main thread: takes tasks from the others, and the process's signals.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "io/base/result.h"
#include "io/base/unique_fd.h"
#include "io/executor.h"

namespace rsyncfs {

class MainThread {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP for this thread and those made after it, and ignores SIGPIPE: before
  // other threads are started.
  static Result<MainThread> create();
  MainThread(MainThread&&) = default;
  MainThread& operator=(MainThread&&) = delete;
  ~MainThread() = default;

  // Any thread.
  void post(Task task);
  // Runs tasks until `done` says so or the limit is over (false). A signal to stop counts as `done` if
  // `interruptible`.
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit, bool interruptible);
  // SIGTERM or SIGINT has come.
  bool stop_requested() const { return stop_signal_ != 0; }
  int stop_signal() const { return stop_signal_; }

 private:
  MainThread(UniqueFd signals, UniqueFd wake) : signals_(std::move(signals)), wake_(std::move(wake)) {}
  void take_signals();
  void run_tasks();

  UniqueFd signals_;
  UniqueFd wake_;
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();  // guards tasks_
  std::vector<Task> tasks_;
  int stop_signal_ = 0;
};

}  // namespace rsyncfs
