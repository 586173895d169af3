// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/housekeeper.h"

#include <pthread.h>

#include <utility>

namespace rsyncfs {
namespace {

constexpr size_t kMaxTasks = 10000;
constexpr int kLogPages = 2048;  // 8 MiB

}  // namespace

Housekeeper::Housekeeper(std::function<void()> clean) : clean_(std::move(clean)), thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), "housekeeper");
}

void Housekeeper::finish() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

bool Housekeeper::post(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    if (ended_ || tasks_.size() >= kMaxTasks) return false;
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
  return true;
}

void Housekeeper::log_grew(int pages) {
  if (pages < kLogPages) return;
  {
    std::lock_guard lock(mutex_);
    if (clean_wanted_) return;
    clean_wanted_ = true;
  }
  wake_.notify_one();
}

void Housekeeper::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || clean_wanted_ || !tasks_.empty(); });
    if (!tasks_.empty()) {
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
      continue;
    }
    if (stopping_) {
      ended_ = true;
      return;
    }
    clean_wanted_ = false;
    lock.unlock();
    clean_();
    lock.lock();
  }
}

}  // namespace rsyncfs
