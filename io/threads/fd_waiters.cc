// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/threads/fd_waiters.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <climits>

namespace rsyncfs {

namespace {

constexpr size_t kEventsPerWait = 128;

int milliseconds(std::optional<std::chrono::nanoseconds> timeout) {
  if (!timeout) return -1;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(*timeout).count();
  return static_cast<int>(std::min<int64_t>(ms, INT_MAX));
}

}  // namespace

uint32_t FdWaiters::Entry::events() const {
  return EPOLLONESHOT | (in.empty() ? 0U : static_cast<uint32_t>(EPOLLIN | EPOLLRDHUP)) |
         (out.empty() ? 0U : static_cast<uint32_t>(EPOLLOUT));
}

int FdWaiters::arm(int fd, const Entry& entry) {
  epoll_event event{};
  event.events = entry.events();
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  if (errno != ENOENT) return -errno;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

int FdWaiters::add(int fd, Direction direction, OpId op) {
  Entry& entry = entries_[fd];
  entry.list(direction).push_back(op);
  // Another waiter of the same direction has armed it already.
  if (entry.list(direction).size() > 1) return 0;
  const int error = arm(fd, entry);
  if (error < 0) {
    entry.list(direction).pop_back();
    if (entry.in.empty() && entry.out.empty()) entries_.erase(fd);
  }
  return error;
}

void FdWaiters::remove(int fd, Direction direction, OpId op) {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  std::erase(entry.list(direction), op);
  if (!entry.in.empty() || !entry.out.empty()) return;
  entries_.erase(found);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void FdWaiters::served(int fd, Direction direction, OpId op) {
  const auto found = entries_.find(fd);
  if (found == entries_.end()) return;
  std::erase(found->second.list(direction), op);
  if (found->second.in.empty() && found->second.out.empty()) entries_.erase(found);
}

std::vector<OpId> FdWaiters::waiters(int fd, Direction direction) const {
  const auto found = entries_.find(fd);
  return found == entries_.end() ? std::vector<OpId>{} : found->second.list(direction);
}

void FdWaiters::rearm(int fd) {
  const auto found = entries_.find(fd);
  if (found != entries_.end()) arm(fd, found->second);
}

int FdWaiters::add_permanent(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

std::span<const epoll_event> FdWaiters::wait(std::optional<std::chrono::nanoseconds> timeout) {
  events_.resize(kEventsPerWait);
  int count = -1;
  if (has_pwait2_) {
    timespec ts{};
    if (timeout) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
      ts.tv_sec = seconds.count();
      ts.tv_nsec = (*timeout - seconds).count();
    }
    count = ::epoll_pwait2(epoll_.get(), events_.data(), kEventsPerWait, timeout ? &ts : nullptr, nullptr);
    has_pwait2_ = count >= 0 || (errno != ENOSYS && errno != EPERM);
  }
  if (!has_pwait2_) count = ::epoll_wait(epoll_.get(), events_.data(), kEventsPerWait, milliseconds(timeout));
  RSYNCFS_CHECK(count >= 0 || errno == EINTR);
  return {events_.data(), static_cast<size_t>(std::max(count, 0))};
}

}  // namespace rsyncfs
