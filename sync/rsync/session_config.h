// SPDX-License-Identifier: GPL-3.0-or-later
// What a session of either role is told: where it speaks, as whom, and how.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sync/rsync/auth.h"
#include "sync/rsync/checksum.h"

namespace rsyncfs {

enum class CompressionKind : uint8_t { kNone, kZlibx, kZstd };

// Where the session speaks: to a daemon (greeting, module, auth, arguments on the wire) or to `rsync
// --server` on a pipe (arguments were on its command line).
enum class PeerKind : uint8_t { kDaemon, kShell };

enum class MessageKind : uint8_t { kError, kWarning, kInfo, kMotd };

// What a server was found to be, or is taken for: then what it will say need not be waited for.
struct ServerAbilities {
  int protocol = 32;       // that it agrees to
  bool negotiates = true;  // takes 'v': names of checksums are exchanged, flags of entries are varints
  bool asks_login = false;
  bool operator==(const ServerAbilities&) const = default;
};

// A daemon's connection up to "@RSYNCD: OK", made before it was known what for (sync/rsync/daemon_login.h).
struct LoggedIn {
  DaemonGreeting greeting;
  std::string server_version;  // the greeting, as it came
  bool asked = false;          // for a login
};

struct SessionConfig {
  PeerKind peer = PeerKind::kDaemon;
  std::string module;    // daemon only
  std::string user;      // daemon auth; empty: none configured
  std::string password;  // daemon auth
  std::string root;  // path below the module (daemon) or on the host (shell), without trailing '/'; may be ""
  int max_protocol = 32;  // 30, 31 or 32
  bool numeric_ids = false;
  CompressionKind compression = CompressionKind::kNone;
  int compress_level = 0;                // 0: the default of whoever compresses
  std::optional<ChecksumKind> checksum;  // forced; otherwise negotiated
  int32_t checksum_seed = 0;             // 0: the server chooses
  int io_timeout_s = 0;                  // --timeout to the server, 0: none
  std::vector<std::string> extra_args;   // more server options, e.g. "--append"

  // Nothing that follows from it is waited for: where no login is asked for, the whole opening is written at
  // construction and costs one round trip. If it turns out otherwise the session ends, and is misjudged():
  // open a new one without it. Absent: step by step.
  std::optional<ServerAbilities> taken_for;
  // Daemon only: the connection is there already, and the server waits for the arguments.
  std::optional<LoggedIn> logged_in;

  // Shell only: have the server's messages in the stream (--no-msgs2stderr) and not on its standard error,
  // which is where rsync since 3.2.3 puts them. Without it neither a missing root nor a declined file has a
  // reason. rsync before 3.2.0 does not know the option and ends at once, saying so on standard error: retry
  // without.
  bool messages_in_band = true;
};

// Named bounds on what a peer may make us hold. Reaching one ends the session with Errc::kLimit.
struct SessionLimits {
  size_t max_frame_bytes = 0xffffff;  // the wire's own limit
  size_t max_text_bytes = 64 * 1024;  // one message, one greeting line
};

}  // namespace rsyncfs
