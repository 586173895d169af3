// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/post_queue.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace rsyncfs {

Result<UniqueFd> PostQueue::make_wake_fd() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
  if (!fd) return Error::os(errno, "eventfd");
  return fd;
}

void PostQueue::push(Task task, bool from_loop) {
  {
    const std::lock_guard lock(mutex_);
    RSYNCFS_CHECK(tasks_.size() < kMaxQueuedTasks);
    tasks_.push_back(std::move(task));
    if (from_loop || wake_sent_) return;
    wake_sent_ = true;
  }
  wake();
}

void PostQueue::wake() {
  const uint64_t one = 1;
  while (::write(wake_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void PostQueue::read_wake_fd() {
  uint64_t count = 0;
  while (::read(wake_.get(), &count, sizeof count) < 0 && errno == EINTR) {
  }
}

bool PostQueue::empty() const {
  const std::lock_guard lock(mutex_);
  return tasks_.empty();
}

std::vector<Task> PostQueue::take() {
  const std::lock_guard lock(mutex_);
  wake_sent_ = false;
  return std::exchange(tasks_, {});
}

void PostQueue::run() {
  for (Task& task : take()) {
    // Destroyed as soon as it has run: a task may own what a later one expects to be released.
    Task current = std::move(task);
    current();
  }
}

void PostQueue::clear() {
  const auto dropped = take();
}

}  // namespace rsyncfs
