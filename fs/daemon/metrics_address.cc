// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/metrics_address.h"

#include "fs/daemon/option_values.h"

namespace rsyncfs {

Result<MetricsAddress> parse_metrics_address(std::string_view text) {
  MetricsAddress out;
  if (text.find('/') != std::string_view::npos) {
    out.socket = text;
    return out;
  }
  const size_t colon = text.rfind(':');
  const std::string_view host = colon == std::string_view::npos ? "127.0.0.1" : text.substr(0, colon);
  const std::string_view number = colon == std::string_view::npos ? text : text.substr(colon + 1);
  const Result<uint64_t> port = parse_number(number, 1, 65535);
  const bool is_number = number.find_first_not_of("0123456789") == std::string_view::npos && !number.empty();
  if (!port && is_number) return Error(Errc::kUsage, "a port from 1 to 65535 is needed");
  if (!port)
    return Error(Errc::kUsage,
                 "PORT, 127.0.0.1:PORT, [::1]:PORT or the path of a socket (with a '/') is needed");
  if (host != "127.0.0.1" && host != "[::1]" && host != "localhost") {
    return Error(Errc::kUsage,
                 "only this machine is served: 127.0.0.1:PORT or [::1]:PORT; for others, put a server with "
                 "access control in front of it");
  }
  out.port = static_cast<uint16_t>(*port);
  out.six = host == "[::1]";
  return out;
}

}  // namespace rsyncfs
