// SPDX-License-Identifier: GPL-3.0-or-later
// A daemon's connection that is opened and logged in before it is known what for: the session that takes it
// needs one round trip, not two, or four where a login is asked for.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "io/loop.h"
#include "sync/engine/session_settings.h"
#include "sync/engine/status.h"
#include "sync/engine/syncer.h"
#include "sync/rsync/daemon_login.h"
#include "sync/transport/connect.h"

namespace rsyncfs {

// What a session begins with instead of connecting.
struct PreparedStream {
  std::unique_ptr<Stream> stream;
  std::optional<LoggedIn> login;  // nullopt: nothing was said there yet
};

// Loop thread only.
class ReadyConnection final : private Stream::Handler {
 public:
  // `over`: it cannot be taken any more; it may be destroyed then. Not called after take().
  ReadyConnection(Loop& loop, Resolver& resolver, const SyncerOptions& options,
                  const ServerFeatures& features, std::function<void(const Error&)> over);
  ~ReadyConnection() override;
  ReadyConnection(const ReadyConnection&) = delete;
  ReadyConnection& operator=(const ReadyConnection&) = delete;

  bool ready() const { return ready_; }
  // When ready; once, last.
  PreparedStream take();
  SessionStatus status() const;
  uint64_t bytes_in() const { return stream_ ? stream_->bytes_in() : 0; }
  uint64_t bytes_out() const { return stream_ ? stream_->bytes_out() : 0; }

 private:
  void attached(Result<std::unique_ptr<Stream>> stream);
  void on_bytes(std::span<const std::byte> data) override;
  void on_end(Result<void> why) override;
  Result<void> advance();
  void end(const Error& why);

  SessionConfig config_;
  std::function<void(const Error&)> over_;
  ByteQueue output_;
  ByteQueue input_;
  DaemonLogin login_;
  std::unique_ptr<ConnectAttempt> attempt_;
  std::unique_ptr<Stream> stream_;
  bool ready_ = false;
};

}  // namespace rsyncfs
