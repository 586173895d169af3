// SPDX-License-Identifier: GPL-3.0-or-later
// What one directory of the source has in it at this moment, asked while something in it is being pushed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"
#include "sync/replica/types.h"

namespace rsyncfs {

// Of one directory; what is beyond is told by the next question.
constexpr size_t kMaxRemoteNames = 100'000;

// Loop thread only. Destroying it gives the question up.
class RemoteNames final : private SessionUser {
 public:
  // `path`: of the directory, "" is the root. `done`: never from inside the constructor's call; kCanceled: no
  // session could be had, the pool will call `changed`.
  RemoteNames(const EngineContext& context, SessionPool& pool, std::string path,
              Done<std::vector<KeptListedName>> done);
  ~RemoteNames() override;
  RemoteNames(const RemoteNames&) = delete;
  RemoteNames& operator=(const RemoteNames&) = delete;

 private:
  void open();
  void session_listed(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;
  void answer(Result<std::vector<KeptListedName>> names);

  const EngineContext& context_;
  SessionPool& pool_;
  const std::string path_;
  Done<std::vector<KeptListedName>> done_;
  RemoteSession* session_ = nullptr;
  int refusals_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
