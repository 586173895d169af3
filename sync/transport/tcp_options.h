// SPDX-License-Identifier: GPL-3.0-or-later
// What users say of the sockets that reach a daemon.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/transport/resolver.h"

namespace rsyncfs {

// Of setsockopt(2).
struct SocketOption {
  int level = 0;
  int name = 0;
  int value = 0;
  bool operator==(const SocketOption&) const = default;
};

struct TcpOptions {
  sa_family_t family = AF_UNSPEC;      // the only one that is tried
  std::optional<Address> from;         // of ours; only the host's addresses of its family are tried
  std::vector<SocketOption> sockopts;  // in this order, after our own
  uint32_t unread_bytes = 0;           // Stream::keep_unread_below()
};

// "SO_SNDBUF=65536,TCP_NODELAY", with the names that rsync's --sockopts has. kUsage, also for what this
// kernel refuses.
Result<std::vector<SocketOption>> parse_socket_options(std::string_view text);
// An address in numbers that a socket of this machine can have. kUsage.
Result<Address> parse_own_address(std::string_view text);

}  // namespace rsyncfs
