// SPDX-License-Identifier: GPL-3.0-or-later
// What the source has at some places at this moment: asked just before something there is moved, removed or
// put in the way of others, where a push has no check of its own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"
#include "sync/replica/types.h"

namespace rsyncfs {

struct RemoteFinding {
  std::optional<KeptListedName> entry;  // nullopt: there is nothing
  std::optional<Error> unknown;         // the source did not say
};

// Loop thread only. Destroying it gives the question up.
class RemoteCheck final : private SessionUser {
 public:
  // `done`: one finding for each path, in their order, never from inside the constructor's call. An error
  // says nothing about the paths; kCanceled: no session could be had, the pool will call `changed`.
  // `refused`: the server, or the pool, has no room for this session; it is tried again.
  RemoteCheck(const EngineContext& context, SessionPool& pool, std::vector<std::string> paths,
              Done<std::vector<RemoteFinding>> done, std::function<void()> refused = {});
  ~RemoteCheck() override;
  RemoteCheck(const RemoteCheck&) = delete;
  RemoteCheck& operator=(const RemoteCheck&) = delete;

 private:
  void open();
  void session_listed(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;
  void answer(Result<std::vector<RemoteFinding>> result);

  const EngineContext& context_;
  SessionPool& pool_;
  const std::vector<std::string> paths_;
  Done<std::vector<RemoteFinding>> done_;
  const std::function<void()> refused_;
  RemoteSession* session_ = nullptr;
  int refusals_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
