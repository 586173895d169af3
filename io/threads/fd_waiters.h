// SPDX-License-Identifier: GPL-3.0-or-later
// Which operations wait for which descriptor, kept in step with one epoll set.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "io/base/unique_fd.h"
#include "io/loop.h"

namespace rsyncfs {

enum class Direction : uint8_t { kIn, kOut };

// For the loop thread. A descriptor is armed, for one event, exactly while something waits for it. It stays
// in the set unarmed afterwards, which saves two system calls per wait; the kernel takes it out when it is
// closed.
class FdWaiters {
 public:
  explicit FdWaiters(UniqueFd epoll) : epoll_(std::move(epoll)) {}
  FdWaiters(const FdWaiters&) = delete;
  FdWaiters& operator=(const FdWaiters&) = delete;

  // 0, or -errno when the descriptor cannot be waited for; then nothing is kept.
  int add(int fd, Direction direction, OpId op);
  void remove(int fd, Direction direction, OpId op);  // before its event
  void served(int fd, Direction direction, OpId op);  // after its event; rearm() follows
  // In order of arrival; a copy, because completing one may change the list.
  std::vector<OpId> waiters(int fd, Direction direction) const;
  // After an event: arms what still waits.
  void rearm(int fd);

  // A descriptor watched for reading as long as the set lives; its events have data.fd == fd as all others.
  int add_permanent(int fd);
  // Events, or none after `timeout` (no timeout: for ever) or a signal. Valid until the next call.
  std::span<const epoll_event> wait(std::optional<std::chrono::nanoseconds> timeout);

 private:
  struct Entry {
    std::vector<OpId> in;
    std::vector<OpId> out;
    std::vector<OpId>& list(Direction direction) { return direction == Direction::kIn ? in : out; }
    const std::vector<OpId>& list(Direction direction) const {
      return direction == Direction::kIn ? in : out;
    }
    uint32_t events() const;
  };
  int arm(int fd, const Entry& entry);

  UniqueFd epoll_;
  std::unordered_map<int, Entry> entries_;
  std::vector<epoll_event> events_;
  bool has_pwait2_ = true;
};

}  // namespace rsyncfs
