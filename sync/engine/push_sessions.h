// SPDX-License-Identifier: GPL-3.0-or-later
// The sessions of pushes beyond the one step that they serve: some are opened before it is known whether
// their list may go out, so that it need not wait for the opening then; some come to their end when all was
// said, while the next step goes on. What a session does begins with its list, never before.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "sync/engine/push_connection.h"
#include "sync/engine/ready_streams.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread only. Outlives whoever opens sessions here.
class PushSessions {
 public:
  // Sessions that wait for their list.
  static constexpr size_t kMostPrepared = 3;

  PushSessions(const EngineContext& context, SessionPool& pool);
  ~PushSessions();
  PushSessions(const PushSessions&) = delete;
  PushSessions& operator=(const PushSessions&) = delete;

  SessionPool& pool() const { return pool_; }
  ReadyStreams& ready() { return ready_; }

  // Opens as many for what open() will be asked for soon as are missing at `count`, and as are to spare; they
  // give way to whoever needs a session. `config` without entries.
  void prepare(const PushConfig& config, size_t count = 1);
  // Their turn did not come, or somebody else is refused for their sake. False: there were none.
  bool drop_prepared();
  // One that was prepared for that, or a new one; as PushConnection::open().
  std::shared_ptr<PushConnection> open(PushConfig config, PushUser& user);
  // Its user has heard all. It goes on to its orderly end.
  void let_end(std::shared_ptr<PushConnection> connection);

  bool any_prepared() const { return !prepared_.empty(); }
  bool any() const { return !prepared_.empty() || !ending_.empty(); }
  void tick(Clock::time_point now, std::chrono::milliseconds stall);
  // For good: nothing is held after that.
  void close();

 private:
  class Held;
  void drop(std::vector<std::unique_ptr<Held>>& some);
  void ended(const Held& one);

  const EngineContext& context_;
  SessionPool& pool_;
  ReadyStreams ready_;
  std::vector<std::unique_ptr<Held>> prepared_;
  std::vector<std::unique_ptr<Held>> ending_;
  bool closed_ = false;
};

}  // namespace rsyncfs
