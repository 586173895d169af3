// SPDX-License-Identifier: GPL-3.0-or-later
// The daemon's end of the control socket, served on the loop.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "fs/control/protocol.h"
#include "io/base/unique_fd.h"
#include "io/executor.h"
#include "io/loop.h"

namespace rsyncfs {

// The way back to one client for one request. For the loop thread. Once the client has gone nothing happens
// any more: answers are dropped, and the task given to on_gone() has run.
class ControlReply {
 public:
  virtual ~ControlReply() = default;
  // Progress is dropped while the client does not read; failed paths are too, beyond kMaxUnsentAnswers bytes.
  virtual void send(const ControlAnswer& answer) = 0;
  // The last answer, kDone or kFailed; exactly once.
  virtual void finish(const ControlAnswer& answer) = 0;
  // At most one task, run if the client goes before finish().
  virtual void on_gone(Task task) = 0;
};

class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  // On the loop thread; must not block.
  virtual void handle(ControlRequest request, std::shared_ptr<ControlReply> reply) = 0;
};

class ControlServer {
 public:
  static constexpr size_t kMaxConnections = 64;
  static constexpr size_t kMaxUnsentAnswers = 4 * 1024 * 1024;
  static constexpr std::chrono::seconds kIdleLimit{30};  // without a request under way
  static constexpr std::chrono::seconds kStopLimit{2};   // for the last answers of stop()

  // Any thread, before or while the loop runs. `listener` comes from claim_mount(), whose files are not the
  // server's to remove. `handler` must outlive the loop's run. Only `owner` and root are answered.
  static std::unique_ptr<ControlServer> create(Loop& loop, UniqueFd listener, uid_t owner,
                                               ControlHandler& handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Loop thread.
  void start();
  // Loop thread, once: takes no more requests, lets those under way end within kStopLimit. After `done`
  // nothing of the server or of a reply touches the loop or the handler.
  void stop(Task done);

 private:
  class Impl;
  explicit ControlServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace rsyncfs
