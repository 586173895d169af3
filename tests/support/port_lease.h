// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>

namespace rsyncfs::support {

// A TCP port of 127.0.0.1 that nobody uses, kept from other tests while this lives (a lock file per port). It
// is below the range that the kernel gives to outgoing connections, so a server can be restarted on it.
class PortLease {
 public:
  PortLease();
  ~PortLease();
  PortLease(const PortLease&) = delete;
  PortLease& operator=(const PortLease&) = delete;

  uint16_t port() const { return port_; }

 private:
  uint16_t port_ = 0;
  int lock_fd_ = -1;
};

// Whether somebody accepts connections there.
bool is_listening(uint16_t port);

}  // namespace rsyncfs::support
