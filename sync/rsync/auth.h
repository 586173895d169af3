// SPDX-License-Identifier: GPL-3.0-or-later
// The daemon's greeting line and its challenge-response login. Source: rsync's clientserver.c and
// authenticate.c.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

// "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4", newline excluded.
struct DaemonGreeting {
  int protocol = 0;
  int subprotocol = 0;
  bool names_digests = false;  // daemons since 3.2.7; their protocol understands everything we advertise
  std::vector<std::string> digests;
};

// Errc::kProtocol if `line` is not a greeting, Errc::kUnsupported below protocol 30.
Result<DaemonGreeting> parse_daemon_greeting(std::string_view line);
// Ours, newline included.
std::string client_greeting(int protocol);
// The protocol both sides will speak; a pre-release subprotocol of the server counts as one less.
int negotiated_protocol(const DaemonGreeting& server, int max_protocol);

// The digest for the login: the first of ours that the server names, md5 if it names none at all
// (before 3.2.7).
Result<std::string_view> choose_auth_digest(const DaemonGreeting& server);
// base64 without padding of digest(password, challenge).
Result<std::string> auth_response(std::string_view digest, std::string_view password,
                                  std::string_view challenge);

}  // namespace rsyncfs
