// SPDX-License-Identifier: GPL-3.0-or-later
// Unix sockets at paths of any length, and who is at their other end.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <string>

#include "io/base/result.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {

// The address of `path`. A path that does not fit into sun_path is reached through a descriptor of its
// directory, which this object keeps open.
class LocalAddress {
 public:
  static Result<LocalAddress> make(const std::string& path);
  const sockaddr* get() const;
  socklen_t length() const { return sizeof address_; }

 private:
  sockaddr_un address_{};
  UniqueFd directory_;
};

// A listening socket, mode 0600, CLOEXEC, non-blocking. A socket there on which nobody listens any more is
// replaced; kRefused with EBUSY if somebody does.
Result<UniqueFd> listen_local(const std::string& path);

// A connected blocking socket, CLOEXEC. kNotFound: no socket there. kDisconnected: nobody listens on it any
// more. kTimedOut: the listener does not accept.
Result<UniqueFd> connect_local(const std::string& path, int timeout_ms);

struct LocalPeer {
  pid_t pid = 0;
  uid_t uid = 0;
};
Result<LocalPeer> local_peer(int fd);

}  // namespace rsyncfs
