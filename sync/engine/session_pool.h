// SPDX-License-Identifier: GPL-3.0-or-later
// All live sessions of one source: how many may there be, which serves a request, what happens when they end.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "sync/engine/link.h"
#include "sync/engine/ready_connection.h"
#include "sync/engine/ready_streams.h"
#include "sync/engine/remote_session.h"
#include "sync/engine/syncer.h"
#include "sync/transport/bandwidth_limit.h"

namespace rsyncfs {

// Byte and event totals of sessions that are over and of those that live.
struct SessionTotals {
  WireByPurpose wire{};
  FailureCounts failures{};
  void opened(WirePurpose purpose) { ++wire[static_cast<size_t>(purpose)].sessions; }
  void add(WirePurpose purpose, uint64_t bytes_in, uint64_t bytes_out);
  WireTotals all() const;
};

// Loop thread only.
class SessionPool final : public RemoteSession::Keeper {
 public:
  // `changed` is called (from a fresh stack) whenever a session may be opened or used that could not be
  // before. `link_failed` is called when an attempt to reach the source failed, or an established session
  // stalled. `known`: what an earlier mount found the server to be.
  SessionPool(Loop& loop, const SyncerOptions& options, const ServerFeatures& known,
              std::function<void()> changed, std::function<void(const Error&)> link_failed);
  ~SessionPool() override;
  SessionPool(const SessionPool&) = delete;
  SessionPool& operator=(const SessionPool&) = delete;

  // Null when the link is down and must not be tried yet, or no slot is free (an idle session gives way). The
  // result is valid until session_ended().
  std::shared_ptr<RemoteSession> open(SessionSpec spec, SessionUser& user);
  // An armed session whose list has `path` as a regular file of this size and mtime, and room for more; the
  // least loaded. Null: none.
  struct Found {
    std::shared_ptr<RemoteSession> session;
    uint32_t ndx = 0;
  };
  Found find_file(std::string_view path, uint64_t size, int64_t mtime_s, uint32_t mtime_ns,
                  uint64_t max_outstanding) const;
  // Any armed session that lists `path`, of any type.
  std::vector<Found> find_entry(std::string_view path) const;

  // A connection of another kind (one that pushes) takes a slot among the sessions, as one that somebody
  // waits for. False: not now; `changed` is called when it is worth another try.
  bool take_slot();
  // A push of several sessions is under way: while it has none, one is left to it. Otherwise lists, which it
  // makes stale again and again, could take the only one each time before it comes to an end.
  void reserve_for_push(bool under_way) { push_under_way_ = under_way; }
  // Sessions that may be opened beside those that there are, without one of them giving way.
  size_t to_spare() const { return limit_ - std::min(limit_, in_use()); }
  // Whether one more could be opened for somebody who needs it, be it that an idle one gives way.
  bool may_make_room() const;
  // Gives up slots that are taken for what may follow; false: there are none. Asked when somebody needs one
  // now.
  void set_yield(std::function<bool()> yield) { yield_ = std::move(yield); }
  // As far as is known how many the server allows.
  size_t most() const { return limit_; }
  // What the last session took from its first packet until it was established; 0: there was none yet.
  Clock::duration opening_time() const { return opening_time_; }
  // Its news of the link, as a session's.
  void slot_established(std::string description, int protocol);
  void slot_received() { link_.alive(); }
  void slot_misjudged(const Error& why) { session_misjudged(why); }
  // The server said "max connections": the connection that is kept ready is given up.
  void slot_refused() { give_up_ready(); }
  // A connection to begin with, for whoever has got a slot.
  std::optional<PreparedStream> take_ready();
  // `was_needed` false: it was opened for what might follow, so that its being refused says nothing of the
  // link.
  void return_slot(const Error& why, bool was_established, bool was_needed, uint64_t bytes_in,
                   uint64_t bytes_out);

  // Who is told of extended attribute values, whoever opened the session. Set once, before the first session.
  void set_xattr_user(SessionUser& user) { xattr_user_ = &user; }

  std::shared_ptr<RemoteSession> share(RemoteSession& session) const;
  void close(RemoteSession& session, const Error& why) { session.fail(why); }
  void close_all(const Error& why);
  void tick(Clock::time_point now);
  bool busy() const;  // somebody waits for a server

  Link& link() { return link_; }
  const Link& link() const { return link_; }
  const ServerFeatures& features() const { return features_; }
  ServerFeatures& features() { return features_; }
  Resolver& resolver() { return resolver_; }
  RemoteShell& shell() { return shell_; }
  // Of all sessions together; null: none.
  BandwidthLimit* bandwidth() { return bandwidth_ ? &*bandwidth_ : nullptr; }
  SessionTotals totals() const;
  // The connection that nobody needs yet, if there is one.
  std::optional<SessionStatus> ready_status() const;
  uint64_t ended_count() const { return ended_count_; }  // sessions that are over; grows
  const std::vector<std::shared_ptr<RemoteSession>>& sessions() const { return sessions_; }

 private:
  void session_established(RemoteSession& session) override;
  void session_showed(RemoteSession& session) override;
  void session_misjudged(const Error& why) override;
  void session_received(RemoteSession& session) override;
  void session_over(RemoteSession& session, const Error& why, bool was_established) override;
  bool refused_for_a_moment(const Error& why) const override;
  void session_xattrs(RemoteSession& session, uint32_t ndx,
                      std::vector<std::pair<std::string, std::string>> values) override;
  bool make_room(const SessionSpec& spec);
  std::optional<PreparedStream> begin_with(const SessionSpec& spec);
  static bool is_idle(const RemoteSession& session);
  size_t in_use() const { return sessions_.size() + slots_; }
  size_t reserved_from(const SessionSpec& spec) const;
  void forget_abilities();
  void keep_ready();
  void drop_ready();
  void give_up_ready();
  void ready_over(const Error& why);
  void consider_end(const Error& why, bool was_established);
  bool drop_refused_feature(const Error& why);
  bool try_other_dialect(const Error& why);
  void schedule_changed();
  void schedule_changed_in(std::chrono::milliseconds pause);
  void schedule_retry(bool demanded);

  Loop& loop_;
  const SyncerOptions& options_;
  Resolver resolver_;
  RemoteShell shell_;
  std::optional<BandwidthLimit> bandwidth_;
  std::function<void()> changed_;
  std::function<void(const Error&)> link_failed_;
  std::function<bool()> yield_;
  SessionUser* xattr_user_ = nullptr;
  Link link_;
  ServerFeatures features_;
  ReadyStreams second_;  // made with the first session's
  size_t limit_;         // sessions at once; lowered when the server says so, and raised again
  Clock::time_point limit_lowered_at_{};
  std::vector<std::shared_ptr<RemoteSession>> sessions_;
  size_t slots_ = 0;  // taken by take_slot()
  std::unique_ptr<ReadyConnection> ready_;
  TimerId ready_timer_ = 0;  // ends it
  std::chrono::seconds ready_for_{0};
  Clock::time_point no_ready_until_{};  // it was refused, or did not live long
  Clock::time_point ready_given_up_at_{};
  bool push_under_way_ = false;
  SessionTotals past_;
  bool ever_established_ = false;
  unsigned dialect_ = 0;  // of kDialects, for a shell's server that went away without a word
  uint64_t ended_count_ = 0;
  Clock::duration opening_time_{0};
  Clock::time_point worked_until_{};  // the end of the last session that had been established
  bool change_scheduled_ = false;
  TimerId retry_timer_ = 0;
  Clock::time_point retry_due_{};
  bool closing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
