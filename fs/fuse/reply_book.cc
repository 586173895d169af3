// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/reply_book.h"

namespace rsyncfs {
namespace {

// An interrupt is overtaken by its request for some microseconds only.
constexpr size_t kMostInterrupted = 64;

}  // namespace

// Under the lock: the waiter may destroy the book as soon as it has it.
void ReplyBook::closed() {
  const std::lock_guard lock(mutex_);
  if (open_.fetch_sub(1) == 1) none_open_.notify_all();
}

void ReplyBook::failed(int error_number) {
  const bool known = error_number > 0 && static_cast<size_t>(error_number) < kErrnos;
  errors_[known ? static_cast<size_t>(error_number) : 0].fetch_add(1, std::memory_order_relaxed);
}

uint64_t ReplyBook::errors() const {
  uint64_t sum = 0;
  for (const auto& count : errors_) sum += count.load(std::memory_order_relaxed);
  return sum;
}

std::vector<std::pair<int, uint64_t>> ReplyBook::errors_by_number() const {
  std::vector<std::pair<int, uint64_t>> out;
  for (size_t i = 0; i < kErrnos; ++i) {
    const uint64_t count = errors_[i].load(std::memory_order_relaxed);
    if (count != 0) out.emplace_back(static_cast<int>(i), count);
  }
  return out;
}

bool ReplyBook::parked(RequestId request, uint64_t number) {
  parked_total_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  parked_.insert(request);
  if (number == 0) return false;
  parked_by_number_.emplace(number, request);
  return std::erase(interrupted_, number) > 0;
}

void ReplyBook::unparked(RequestId request, uint64_t number) {
  const std::lock_guard lock(mutex_);
  parked_.erase(request);
  if (number != 0) parked_by_number_.erase(number);
}

RequestId ReplyBook::interrupted(uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (const auto found = parked_by_number_.find(number); found != parked_by_number_.end())
    return found->second;
  // The kernel gives no number twice.
  interrupted_.push_back(number);
  if (interrupted_.size() > kMostInterrupted) interrupted_.pop_front();
  return 0;
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
