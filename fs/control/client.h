// SPDX-License-Identifier: GPL-3.0-or-later
// The verbs' end of the control socket: finds the daemon of a path and talks with it. Blocking, with limits.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "fs/control/mount_record.h"
#include "fs/control/places.h"
#include "fs/control/protocol.h"
#include "io/base/result.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {

// A mount of ours, found by name.
struct FoundMount {
  std::string directory;   // the runtime directory
  std::string mountpoint;  // absolute, raw bytes
  std::string inner;       // the rest of the path, relative to the mountpoint; "" is the mount itself
  std::string socket_path() const { return directory + "/" + socket_name(mountpoint); }
};

// Walks up from `path`, first by its letters, then with symbolic links outside of mounts followed; no mount
// is ever touched. kNotFound: "no rsyncfs mount at PATH".
Result<FoundMount> find_mount(std::string_view path, const UserPlaces& user);

class ControlClient {
 public:
  // kDisconnected: the daemon is gone; kTimedOut: it does not answer; both messages name the mountpoint.
  static Result<ControlClient> connect(const FoundMount& mount, int timeout_ms);

  // Sends the request and gives every answer but the last to `visit`; returns the last one. `timeout_ms`:
  // between answers. Errors as above, and kProtocol.
  Result<ControlAnswer> call(const ControlRequest& request, int timeout_ms,
                             const std::function<void(const ControlAnswer&)>& visit = nullptr);
  // As this process sees it; 0 if it cannot be seen from here.
  pid_t daemon_pid() const;
  // Waits until the daemon has closed the connection, which it does when it ends. kTimedOut.
  Result<void> wait_closed(int timeout_ms);

 private:
  ControlClient(UniqueFd fd, std::string mountpoint)
      : fd_(std::move(fd)), mountpoint_(std::move(mountpoint)) {}
  Result<void> send_all(std::string_view data, int timeout_ms);
  // More bytes into input_; false at the end of the stream.
  Result<bool> receive(int timeout_ms);
  Error gone() const;
  Error silent() const;

  UniqueFd fd_;
  std::string mountpoint_;
  std::string input_;
};

}  // namespace rsyncfs
