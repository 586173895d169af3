// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/executor.h"

#include <utility>

namespace rsyncfs {

Executor::Executor(unsigned threads) {
  RSYNCFS_CHECK(threads > 0);
  threads_.reserve(threads);
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

Executor::~Executor() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Executor::submit(Task task) {
  {
    const std::lock_guard lock(mutex_);
    RSYNCFS_CHECK(queue_.size() < kMaxQueuedTasks);
    queue_.push_back(std::move(task));
  }
  ready_.notify_one();
}

size_t Executor::backlog() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void Executor::run() {
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

Strand::~Strand() {
  drain();
}

void Strand::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    RSYNCFS_CHECK(queue_.size() < kMaxQueuedTasks);
    queue_.push_back(std::move(task));
    if (running_) return;
    running_ = true;
  }
  executor_.submit([this] { run(); });
}

void Strand::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return !running_; });
}

void Strand::run() {
  // A bounded burst keeps one strand from holding a thread that others wait for.
  constexpr int kBurst = 32;
  for (int i = 0; i < kBurst; ++i) {
    Task task;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) {
        running_ = false;
        idle_.notify_all();
        return;
      }
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
  executor_.submit([this] { run(); });
}

}  // namespace rsyncfs
