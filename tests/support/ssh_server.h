// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/child_process.h"
#include "tests/support/port_lease.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs::support {

// A real sshd on a loopback port with its own host key, client key and configuration; logs in as the running
// user.
class SshServer {
 public:
  SshServer();  // returns when it accepts connections; throws SetupFailure otherwise

  // For rsh=: "ssh -F FILE".
  std::string rsh() const { return "ssh -F " + (dir_ / "client.conf"); }
  // HOST:PATH, where HOST is known to rsh() only.
  std::string source(const std::string& path) const { return std::string(kHost) + ":" + path; }
  static constexpr const char* kHost = "rsyncfs-test-host";

  uint16_t port() const { return lease_.port(); }

  void start();
  void kill9();  // the server and all its sessions
  void pause();
  void resume();
  std::string log() const { return process_->err(); }

 private:
  void signal_all(int number) const;

  TempDir dir_;
  PortLease lease_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace rsyncfs::support
