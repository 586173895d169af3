// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/port_lease.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs::support {

// rsyncd.conf names and values, e.g. {"max connections", "2"}; man rsyncd.conf(5).
using DaemonParameters = std::vector<std::pair<std::string, std::string>>;

struct DaemonModule {
  std::string name;
  std::string path;
  bool read_only = true;
  std::vector<std::pair<std::string, std::string>> users;  // user and password; empty: no authentication
  DaemonParameters parameters;
};

struct DaemonOptions {
  std::vector<DaemonModule> modules;
  std::string rsync = "rsync";         // the program
  DaemonParameters globals;            // e.g. {"motd file", "/x"}, {"auth digest", "md5"}
  std::vector<std::string> arguments;  // further ones for the command line
};

// A real rsync daemon on a loopback port with a private configuration. Without other parameters a module is
// served unchrooted, as the running user, with transfers logged. Stopped by the destructor.
class RsyncDaemon {
 public:
  // Returns when it accepts connections; throws SetupFailure otherwise.
  explicit RsyncDaemon(DaemonOptions options);
  // One module named "m".
  static DaemonOptions serving(const std::string& path);

  uint16_t port() const { return lease_.port(); }
  // rsync://[user@]127.0.0.1:PORT/MODULE[/PATH]
  std::string url(const std::string& module = "m", const std::string& path = "",
                  const std::string& user = "") const;

  // For connections from now on.
  void reconfigure(DaemonOptions options);

  void start();   // again, on the same port
  void stop();    // SIGTERM to the daemon, SIGKILL to what is left of its group
  void kill9();   // SIGKILL to the daemon and all its connections
  void pause();   // SIGSTOP to all: the kernel still accepts connections, nobody answers
  void resume();  // SIGCONT to all
  // SIGKILL to the connections only; the daemon goes on listening.
  void drop_connections();
  // SIGTERM to the connections, which remove what they were writing.
  void end_connections();

  bool running() const { return process_->running(); }
  bool serving() const;  // anybody
  std::string log() const;
  // Paths (relative to the module) whose contents were sent, one per transfer, in order.
  std::vector<std::string> transfers() const;
  // Connections accepted so far.
  int connections() const;

 private:
  void write_configuration();

  DaemonOptions options_;
  TempDir dir_;
  PortLease lease_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace rsyncfs::support
