// SPDX-License-Identifier: GPL-3.0-or-later
// How rsync is run on a host: by a remote shell, whose connection all sessions share where that is OpenSSH
// (ssh_config(5), ControlMaster). A login costs some ten round trips, a session of a shared connection two.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/loop.h"
#include "sync/transport/connect.h"

namespace rsyncfs {

struct RemoteShellOptions {
  std::string command;  // rsh=; "" = ssh
  std::string user;     // "" = none given
  std::string host;
  std::string rsync_path;
  std::chrono::milliseconds connect_limit{0};
  // Private to the user, for the sockets of shared connections; "" = each session has a connection of its
  // own.
  std::string socket_directory;
};

// Loop thread only, but for the destructor.
class RemoteShell {
 public:
  RemoteShell(Loop& loop, RemoteShellOptions options);
  // Ends the shared connection, on a thread that may wait for a moment. Its loop need not run any more.
  ~RemoteShell();
  RemoteShell(const RemoteShell&) = delete;
  RemoteShell& operator=(const RemoteShell&) = delete;

  // Runs rsync with `server_args`: as spawn_stream().
  std::unique_ptr<ConnectAttempt> connect(std::vector<std::string> server_args, StreamDone done);
  // What goes through the shared connection does not arrive: sessions from now on make another.
  void leave_shared();
  bool shares() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Whether `remote_shell` (rsh=) is an ssh that was not told how to share connections.
bool may_share_connection(const std::vector<std::string>& remote_shell);
// Whether `ssh -G` shows that its configuration says nothing of sharing connections.
bool leaves_sharing_open(std::string_view configuration);

}  // namespace rsyncfs
