// SPDX-License-Identifier: GPL-3.0-or-later
// The threads that take FUSE requests. Private to fs/fuse.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "fs/fuse/session.h"

namespace rsyncfs {

// A fixed number of threads of our own instead of libfuse's: they can be stopped while they wait in read(2),
// without thread cancellation, whether or not the mount can be taken away.
//
// One of them, the reader, waits for requests, and serves what it reads. The kernel wakes those who read in
// turn: with all of them there, each request of a lone program wakes another thread, on another processor as
// a rule, which costs several times what serving it does. The reader leaves the reading to another when more
// requests wait, and is relieved of it when it is long at one (a disk, the store's writer).
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
  // Waits until nobody else reads. False when the session ended.
  bool become_reader();
  // Looks after the reader until it is gone, at a loss, or has nothing to do. With the lock.
  void watch(std::unique_lock<std::mutex>& lock);
  // Serves until somebody else reads. False when the session ended.
  bool read_requests(Session::Buffer& buffer);
  void call_watcher();
  void wake_all();

  Session& session_;
  std::function<void()> served_;
  std::function<void()> ended_;
  std::atomic<unsigned> running_;
  // The reader's: even while it waits for a request, one more while it serves one. Who changes it from odd to
  // even by more than one takes the reading away from the one who serves.
  std::atomic<uint64_t> step_{0};
  // The reader may be at a loss and nobody would see it.
  std::atomic<bool> unwatched_{true};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_reader_ = false;    // guarded by mutex_
  bool watch_wanted_ = false;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace rsyncfs
