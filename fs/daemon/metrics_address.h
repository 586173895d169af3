// SPDX-License-Identifier: GPL-3.0-or-later
// Where a mount's metrics are served, as the option metrics= says it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/result.h"

namespace rsyncfs {

struct MetricsAddress {
  std::string socket;  // a path; "": a port
  uint16_t port = 0;   // of a loopback address; 0: with a socket, or none is served
  bool six = false;    // ::1 instead of 127.0.0.1
  bool given() const { return !socket.empty() || port != 0; }
  bool operator==(const MetricsAddress&) const = default;
};

// "9100", "127.0.0.1:9100", "[::1]:9100", "localhost:9100", or a path, which has a '/'. kUsage for everything
// else: who can connect can read the page, so nothing but this machine is served.
Result<MetricsAddress> parse_metrics_address(std::string_view text);

}  // namespace rsyncfs
