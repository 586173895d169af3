// SPDX-License-Identifier: GPL-3.0-or-later
// The threads that take FUSE requests. Private to fs/fuse.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "fs/fuse/session.h"

namespace rsyncfs {

// A fixed number of threads of our own instead of libfuse's: they can be stopped while they wait in read(2),
// without thread cancellation, whether or not the mount can be taken away.
class WorkerPool {
 public:
  // `served` after each request, on the worker; `ended` on the last worker to leave. The session must outlive
  // the pool.
  WorkerPool(Session& session, unsigned workers, std::function<void()> served, std::function<void()> ended);
  ~WorkerPool();  // stop()
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Returns when no worker runs. Not from a worker.
  void stop();

 private:
  void run();

  Session& session_;
  std::function<void()> served_;
  std::function<void()> ended_;
  std::atomic<unsigned> running_;
  std::vector<std::thread> threads_;
};

}  // namespace rsyncfs
