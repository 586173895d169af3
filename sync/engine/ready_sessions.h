// SPDX-License-Identifier: GPL-3.0-or-later
// Sessions of one file that have its list already and send it from any byte on (`--append`), so that a read
// in the middle of it costs one round trip. Each serves one such read: a server sends a listed name from the
// middle only once, and nothing but closing it makes it stop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "sync/engine/file_target.h"
#include "sync/engine/remote_session.h"
#include "sync/engine/session_pool.h"

namespace rsyncfs {

// Loop thread only.
class ReadySessions final : public SessionUser {
 public:
  explicit ReadySessions(SessionPool& pool) : pool_(pool) {}
  ~ReadySessions() override;
  ReadySessions(const ReadySessions&) = delete;
  ReadySessions& operator=(const ReadySessions&) = delete;

  // Somebody reads here and there: sees to it that the next reads find one each, as far as there is room.
  void keep(const FileTarget& target, Clock::time_point now);
  // One that lists the target as it is wanted, or at least is on its way, from now on `user`'s; null: there
  // is none.
  struct Taken {
    std::shared_ptr<RemoteSession> session;
    std::optional<uint32_t> ndx;  // nullopt: its list is still to come
  };
  Taken take(const FileTarget& target, SessionUser& user);
  bool any() const;  // take() may give one
  // Those that have waited for too long go: what they list may be another version by now.
  void expire(Clock::time_point now);
  void close();

  void session_listed(RemoteSession& /*session*/) override {}
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  SessionPool& pool_;
  std::vector<std::shared_ptr<RemoteSession>> sessions_;
  Clock::time_point refused_at_{};  // when one could not be opened, or broke
};

}  // namespace rsyncfs
