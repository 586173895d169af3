// SPDX-License-Identifier: GPL-3.0-or-later
// Threads for work that may take long: CPU, SQLite transactions, disk writes.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "io/base/unique_function.h"

namespace rsyncfs {

using Task = UniqueFunction<void()>;

// A producer that runs this far ahead of an executor or a strand is a programmer error.
inline constexpr size_t kMaxQueuedTasks = size_t{1} << 20;

// A fixed set of threads over one queue. submit(): any thread. Tasks must not throw.
class Executor {
 public:
  explicit Executor(unsigned threads);
  // Runs what is queued, then joins.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void submit(Task task);
  // Tasks queued and not started.
  size_t backlog() const;

 private:
  void run();

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Task> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// Tasks posted to one strand run one after the other, in order, on the executor's threads.
// post(): any thread. The executor must outlive the strand; ~Strand waits until it is idle.
class Strand {
 public:
  explicit Strand(Executor& executor) : executor_(executor) {}
  ~Strand();
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;

  void post(Task task);
  // Blocks until everything posted before has run. Not from a task of this strand.
  void drain();

 private:
  void run();

  Executor& executor_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::deque<Task> queue_;
  bool running_ = false;
};

}  // namespace rsyncfs
