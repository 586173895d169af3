// SPDX-License-Identifier: GPL-3.0-or-later
// The first lines of a conversation with a daemon, which are the same whatever it is for: greeting, module,
// message of the day, login. Source: rsync's clientserver.c.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

class DaemonLogin {
 public:
  // Writes the greeting and the module to `out`, later the response to a challenge. `on_motd` gets lines that
  // are no part of the protocol. All must outlive it.
  DaemonLogin(const SessionConfig& config, size_t max_line_bytes,
              std::function<void(std::string_view)> on_motd, ByteQueue& out);

  enum class Took : uint8_t {
    kNothing,    // no whole line is there
    kLine,       // and there may be more
    kGreeting,   // greeting() is known
    kChallenge,  // answered
    kOk,         // "@RSYNCD: OK": the server waits for the arguments
  };
  // One line, taken from `input`. kAuth, kRefused, kNotFound, kUnsupported, kProtocol, kDisconnected; longer
  // lines, and too many, are kLimit.
  Result<Took> take(ByteQueue& input);

  bool greeted() const { return greeted_; }
  const DaemonGreeting& greeting() const { return so_far_.greeting; }
  // What there is of it by now; whole after kOk.
  const LoggedIn& so_far() const { return so_far_; }

 private:
  Result<Took> on_greeting(std::string_view line);
  Result<Took> on_line(std::string_view line);
  Result<Took> log_in(std::string_view challenge);

  const SessionConfig& config_;
  const size_t max_line_bytes_;
  const std::function<void(std::string_view)> on_motd_;
  ByteQueue& out_;
  size_t scanned_ = 0;  // bytes of the input known to hold no line end
  size_t lines_ = 0;
  bool greeted_ = false;
  LoggedIn so_far_;
};

}  // namespace rsyncfs
