// SPDX-License-Identifier: GPL-3.0-or-later
// Streams to the server that are made before somebody has something to say: a push that is due in a moment
// finds the connection and the daemon's greeting there.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "io/loop.h"
#include "sync/engine/syncer.h"
#include "sync/transport/connect.h"

namespace rsyncfs {

// Loop thread only. A daemon counts a connection among its "max connections" when it is told the module, so
// these are not.
class ReadyStreams {
 public:
  // No push opens more sessions at once.
  static constexpr size_t kMost = 4;

  ReadyStreams(Loop& loop, Resolver& resolver, const SyncerOptions& options);
  ~ReadyStreams();
  ReadyStreams(const ReadyStreams&) = delete;
  ReadyStreams& operator=(const ReadyStreams&) = delete;

  // So many are made, or under way, up to kMost; what nobody takes is closed again after a moment. Nothing is
  // made for a remote shell: it would have to know what is to run.
  void want(size_t count);
  // Null: there is none.
  std::unique_ptr<Stream> take();
  void close();

 private:
  void made(const ConnectAttempt* attempt, Result<std::unique_ptr<Stream>> stream);
  void expire_later();

  Loop& loop_;
  Resolver& resolver_;
  const SyncerOptions& options_;
  std::vector<std::unique_ptr<ConnectAttempt>> attempts_;
  std::vector<std::unique_ptr<Stream>> streams_;
  TimerId timer_ = 0;
};

}  // namespace rsyncfs
