// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/reply_book.h"

namespace rsyncfs {

// Under the lock: the waiter may destroy the book as soon as it has it.
void ReplyBook::closed() {
  const std::lock_guard lock(mutex_);
  if (open_.fetch_sub(1) == 1) none_open_.notify_all();
}

void ReplyBook::parked(RequestId request) {
  parked_total_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  parked_.insert(request);
}

void ReplyBook::unparked(RequestId request) {
  const std::lock_guard lock(mutex_);
  parked_.erase(request);
}

std::vector<RequestId> ReplyBook::parked_now() const {
  const std::lock_guard lock(mutex_);
  return {parked_.begin(), parked_.end()};
}

size_t ReplyBook::parked_count() const {
  const std::lock_guard lock(mutex_);
  return parked_.size();
}

bool ReplyBook::wait_none_open(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return none_open_.wait_for(lock, limit, [this] { return open_.load() == 0; });
}

}  // namespace rsyncfs
