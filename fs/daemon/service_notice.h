// SPDX-License-Identifier: GPL-3.0-or-later
// What the service manager that started us is told: sd_notify(3)'s protocol, and its watchdog.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "io/base/result.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {

// One thread at a time. Without a service manager, all of it does nothing. Who is told never makes us wait: a
// notice that does not get through is lost, as sd_notify(3) has it.
class ServiceNotice {
 public:
  // From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; removes them, so that ssh and fusermount3 do not
  // speak for us. Before other threads are started.
  static ServiceNotice from_environment();

  ServiceNotice() = default;
  bool is_wanted() const { return static_cast<bool>(socket_); }
  // Mounted. The process that is told of may be another one than was started.
  void ready(std::string_view status);
  void status(std::string_view line);
  // What follows takes so long at most.
  void stopping(std::string_view status, std::chrono::milliseconds longest);
  void alive();
  // How often alive() is to be called at least; nullopt: nobody waits for it.
  std::optional<std::chrono::milliseconds> watchdog() const { return watchdog_; }

 private:
  void send(const std::string& message) const;

  UniqueFd socket_;  // connected
  std::optional<std::chrono::milliseconds> watchdog_;
};

}  // namespace rsyncfs
