// SPDX-License-Identifier: GPL-3.0-or-later
// Ways to reach an rsync server. Loop thread only; each calls `done` exactly once unless the attempt is
// destroyed first.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/loop.h"
#include "sync/transport/resolver.h"
#include "sync/transport/stream.h"
#include "sync/transport/tcp_options.h"

namespace rsyncfs {

using StreamDone = UniqueFunction<void(Result<std::unique_ptr<Stream>>)>;

// An attempt under way. Destroying it gives it up.
class ConnectAttempt {
 public:
  virtual ~ConnectAttempt() = default;
};

// Connects to the first of the host's addresses that answers; one that keeps silent holds the others up for a
// moment only. TCP_NODELAY; keepalive so that a vanished peer is noticed within about a minute. `resolver`
// and `options` must outlive the attempt. Errors: those of the resolver, kUnreachable (with os_errno()),
// kTimedOut after `limit` for the whole attempt. `unread_bytes`: as Stream::limit_unread(), from the first
// byte on.
std::unique_ptr<ConnectAttempt> connect_tcp(Loop& loop, Resolver& resolver, const TcpOptions& options,
                                            std::chrono::milliseconds limit, StreamDone done,
                                            uint32_t unread_bytes = 0);

// Starts a program with its standard input and output as the stream; its standard error is kept (the last few
// kB) for Stream::last_words(). The child is ended when the stream is. Errors: kOs (cannot start), through
// `done`.
std::unique_ptr<ConnectAttempt> spawn_stream(Loop& loop, std::vector<std::string> argv, StreamDone done);

// The command line that runs `server_args` on `host` through a remote shell: words of `remote_shell` (quotes
// as in rsync's RSYNC_RSH), [-l user], host, rsync_path, then each argument escaped for the remote shell.
// The path (the last argument) keeps a leading "~" or "~user". `shell_options` go before the host.
Result<std::vector<std::string>> remote_shell_command(std::string_view remote_shell, std::string_view user,
                                                      std::string_view host, std::string_view rsync_path,
                                                      const std::vector<std::string>& server_args,
                                                      std::chrono::milliseconds connect_limit,
                                                      const std::vector<std::string>& shell_options = {});

// Words as in RSYNC_RSH. kUsage: a quote is not closed, or there is none.
Result<std::vector<std::string>> shell_words(std::string_view text);

// One word, escaped so that a POSIX shell gives it back unchanged.
std::string shell_escape(std::string_view word);

}  // namespace rsyncfs
