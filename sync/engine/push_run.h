// SPDX-License-Identifier: GPL-3.0-or-later
// One session that pushes no contents, from its list to its end: what the source said of each entry. What is
// moved, linked or removed is so when the server has gone through the list; the rest of the session is only
// how it ends.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sync/engine/push_connection.h"
#include "sync/engine/push_errors.h"
#include "sync/engine/push_sessions.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// By the places of the entries in PushConfig::entries.
struct PushRunResult {
  std::vector<bool> succeeded;    // acknowledged by the source
  std::vector<bool> declined;     // it is not there in the expected state
  std::vector<bool> mentioned;    // something was to be done about it
  std::set<std::string> deleted;  // paths that were removed or moved away, as in the entries
  PushErrors errors;
  // Ok: everything above is complete. kCanceled: no session could be had, the pool will call
  // `changed`.
  Result<void> end;
};

// Of what was to go: the server did not say that it could not. One that removes nothing at all will not do so
// later.
bool was_removed(const PushRunResult& result, const std::vector<std::string>& paths);

// Loop thread only. Destroying it ends the session.
class PushRun final : private PushUser {
 public:
  // `done`: once, never from inside the constructor's call.
  PushRun(const EngineContext& context, PushSessions& sessions, PushConfig config,
          UniqueFunction<void(PushRunResult)> done);
  // Of directories: what matters is that they are there. Their times and modes may still be set at the end.
  void be_done_with_list() { done_with_list_ = true; }
  ~PushRun() override;
  PushRun(const PushRun&) = delete;
  PushRun& operator=(const PushRun&) = delete;

  void tick(Clock::time_point now, std::chrono::milliseconds stall) {
    if (connection_) connection_->tick(now, stall);
  }

 private:
  void on_request(PushRequest request) override;
  void on_declined(size_t index, uint16_t iflags) override;
  void on_item(size_t index, uint16_t iflags, std::string_view xname) override;
  void on_success(size_t index) override;
  void on_deleted(std::string_view path, bool directory) override;
  void on_message(MessageKind kind, std::string_view text) override;
  void on_list_done() override;
  void on_finished() override {}
  void on_ended(Result<void> end) override;

  const EngineContext& context_;
  UniqueFunction<void(PushRunResult)> done_;
  PushRunResult result_;
  PushSessions& sessions_;
  bool removes_ = false;  // its entries name what is to go
  bool done_with_list_ = false;
  bool refused_ = false;  // without a word
  std::shared_ptr<PushConnection> connection_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
