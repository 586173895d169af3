// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/session_pool.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

namespace {
// An armed server is given up when it does not answer for a third of the request's limit, so that a second
// session can still serve the request in time (a file that became a FIFO blocks its server for ever).
constexpr int kStallParts = 3;
constexpr std::chrono::milliseconds kShortestStall{2'000};
// "max connections" of the server holds for so long; then one more is tried.
constexpr std::chrono::seconds kLimitStays{60};
// A server counts a connection for a moment after we have closed it.
constexpr std::chrono::seconds kCountedAfterEnd{1};

// Since rsync 3.5.0 a connection must say what for within 60 s, or the module's timeout.
constexpr std::chrono::seconds kReadyFor{40};
// After one that was refused or closed.
constexpr std::chrono::seconds kReadyPause{60};

bool is_too_many(const Error& why) {
  return why.code() == Errc::kRefused && why.message().find("max connections") != std::string::npos;
}

bool is_stream(const SessionSpec& spec) {
  return spec.purpose == SessionSpec::Purpose::kStream;
}

}  // namespace

SessionPool::SessionPool(Loop& loop, const SyncerOptions& options, const ServerFeatures& known,
                         std::function<void()> changed, std::function<void(const Error&)> link_failed)
    : loop_(loop),
      options_(options),
      resolver_(loop, options.source.host, options.source.port == 0 ? kRsyncPort : options.source.port),
      shell_(loop, {.command = options.remote_shell,
                    .user = options.source.user,
                    .host = options.source.host,
                    .rsync_path = options.rsync_path,
                    .connect_limit = options.connect_timeout,
                    .socket_directory = options.runtime_directory}),
      changed_(std::move(changed)),
      link_failed_(std::move(link_failed)),
      features_(known),
      second_(loop, resolver_, options),
      limit_(std::max(1U, options.max_sessions)) {
  if (options.bytes_per_second != 0) bandwidth_.emplace(loop, options.bytes_per_second);
  features_.acls = features_.acls && options.acls;
  features_.xattrs = features_.xattrs && options.xattrs;
}

SessionPool::~SessionPool() {
  *alive_ = false;
  if (retry_timer_ != 0) loop_.cancel_timer(retry_timer_);
  drop_ready();
}

std::shared_ptr<RemoteSession> SessionPool::open(SessionSpec spec, SessionUser& user) {
  if (closing_) return nullptr;
  if (!link_.may_attempt(Clock::now(), spec.demanded)) {
    schedule_retry(spec.demanded);
    return nullptr;
  }
  if (!make_room(spec)) return nullptr;
  auto session = std::make_shared<RemoteSession>(loop_, resolver_, shell_, bandwidth(), options_, features_,
                                                 spec, user, *this, begin_with(spec));
  sessions_.push_back(session);
  const bool is_first = past_.all().sessions == 0;
  past_.opened(session->purpose());
  session->start();
  if (is_first && options_.keep_ready) second_.want(1);
  return session;
}

bool SessionPool::take_slot() {
  if (closing_) return false;
  SessionSpec spec;
  spec.demanded = true;
  spec.for_push = true;
  if (!link_.may_attempt(Clock::now(), spec.demanded)) {
    schedule_retry(spec.demanded);
    return false;
  }
  if (!make_room(spec)) return false;
  ++slots_;
  past_.opened(WirePurpose::kPush);
  return true;
}

// Right after the first contact there is no connection that was kept ready yet, and somebody who waits for a
// directory.
std::optional<PreparedStream> SessionPool::begin_with(const SessionSpec& spec) {
  auto out = take_ready();
  if (out || !spec.demanded || spec.narrow) return out;
  if (auto stream = second_.take()) return PreparedStream{std::move(stream), std::nullopt};
  return std::nullopt;
}

std::optional<PreparedStream> SessionPool::take_ready() {
  if (!ready_ || !ready_->ready()) return std::nullopt;
  auto out = ready_->take();
  drop_ready();
  return out;
}

// Where sessions are opened because somebody waits, the next one is likely to be.
void SessionPool::keep_ready() {
  const bool restricted = limit_ < std::max(1U, options_.max_sessions) || in_use() >= limit_;
  if (closing_ || !options_.keep_ready || restricted || link_.down() ||
      options_.source.kind != Source::Kind::kDaemon)
    return;
  if (ready_for_.count() == 0 || Clock::now() < no_ready_until_) return;
  if (!ready_) {
    ready_ = std::make_unique<ReadyConnection>(loop_, resolver_, options_, features_,
                                               [this](const Error& why) { ready_over(why); });
    ready_timer_ = loop_.run_after(ready_for_, [this] {
      ready_timer_ = 0;
      drop_ready();
    });
  }
}

void SessionPool::drop_ready() {
  if (ready_timer_ != 0) loop_.cancel_timer(std::exchange(ready_timer_, 0));
  if (!ready_) return;
  past_.add(WirePurpose::kReady, ready_->bytes_in(), ready_->bytes_out());
  ready_.reset();
}

// Without it there may be one more.
void SessionPool::give_up_ready() {
  if (!ready_) return;
  drop_ready();
  ready_given_up_at_ = Clock::now();
  no_ready_until_ = ready_given_up_at_ + kReadyPause;
}

void SessionPool::ready_over(const Error& why) {
  log_debug("a connection that was kept ready: " + why.message());
  no_ready_until_ = Clock::now() + kReadyPause;
  loop_.post([this, alive = alive_] {
    if (*alive) drop_ready();
  });
}

std::optional<SessionStatus> SessionPool::ready_status() const {
  return ready_ ? std::optional(ready_->status()) : std::nullopt;
}

void SessionPool::slot_established(std::string description, int protocol) {
  ever_established_ = true;
  keep_ready();
  features_.protocol = protocol;
  link_.connected(std::move(description));
}

void SessionPool::return_slot(const Error& why, bool was_established, bool was_needed, uint64_t bytes_in,
                              uint64_t bytes_out) {
  RSYNCFS_CHECK(slots_ > 0);
  --slots_;
  ++ended_count_;
  if (was_established) worked_until_ = Clock::now();
  past_.add(WirePurpose::kPush, bytes_in, bytes_out);
  if (why.code() != Errc::kCanceled) count_failure(past_.failures, why.code());
  // Refusals of the module or of an option concern what was to be pushed, not the link.
  const bool refused = why.code() == Errc::kUnsupported || why.code() == Errc::kPermission ||
                       (!was_needed && !(is_too_many(why) && in_use() > 0));
  if (closing_ || why.code() == Errc::kCanceled || refused || (was_established && why.code() == Errc::kOs)) {
    schedule_changed();
  } else {
    consider_end(why, was_established);
  }
}

// With all slots taken, the session that has been idle longest gives way: a directory's before the tree's.
// Streams leave a slot to lists and small files, which would otherwise wait for the end of large ones.
bool SessionPool::make_room(const SessionSpec& spec) {
  const bool stream = is_stream(spec);
  const size_t streams = static_cast<size_t>(
      std::count_if(sessions_.begin(), sessions_.end(), [](const auto& s) { return is_stream(s->spec()); }));
  const bool streams_full = stream && streams >= std::max<size_t>(1, limit_ - 1);
  const size_t reserved = reserved_from(spec);
  if (in_use() + reserved < limit_ && !streams_full) return true;
  if (spec.demanded && !streams_full && yield_ && yield_() && in_use() + reserved < limit_) return true;
  RemoteSession* victim = nullptr;
  for (const auto& session : sessions_) {
    // A tree's pages may take minutes, and can be asked for again.
    const bool in_the_way = session->paging() && limit_ == 1;
    if ((!is_idle(*session) && !in_the_way) || (streams_full && !is_stream(session->spec()))) continue;
    const bool tree = session->spec().purpose == SessionSpec::Purpose::kTree;
    if (tree && !spec.demanded) continue;
    const bool victim_is_tree = victim != nullptr && victim->spec().purpose == SessionSpec::Purpose::kTree;
    if (victim == nullptr || (victim_is_tree && !tree) ||
        (victim_is_tree == tree && session->last_used() < victim->last_used())) {
      victim = session.get();
    }
  }
  // Where there may be one session only, a stream cannot leave a slot: it is interrupted.
  const bool only_stream = limit_ == 1 && streams == in_use() && !sessions_.empty();
  if (victim == nullptr && only_stream && spec.demanded && !stream) victim = sessions_.front().get();
  if (victim == nullptr) return false;
  victim->fail(Error(Errc::kCanceled, "made room for another session"));
  return in_use() + reserved < limit_;
}

bool SessionPool::is_idle(const RemoteSession& session) {
  return (session.armed() && session.outstanding() == 0) || session.paused();
}

bool SessionPool::may_make_room() const {
  return to_spare() > 0 || std::any_of(sessions_.begin(), sessions_.end(),
                                       [](const auto& session) { return is_idle(*session); });
}

size_t SessionPool::reserved_from(const SessionSpec& spec) const {
  if (!push_under_way_ || spec.for_push || slots_ > 0) return 0;
  return std::none_of(sessions_.begin(), sessions_.end(), [](const auto& s) { return s->spec().for_push; })
             ? 1
             : 0;
}

SessionPool::Found SessionPool::find_file(std::string_view path, uint64_t size, int64_t mtime_s,
                                          uint32_t mtime_ns, uint64_t max_outstanding) const {
  Found best;
  for (const auto& session : sessions_) {
    if (!session->armed() || session->spec().purpose == SessionSpec::Purpose::kStream) continue;
    if (session->outstanding_bytes() > max_outstanding) continue;
    if (best.session && best.session->outstanding_bytes() <= session->outstanding_bytes()) continue;
    const auto ndx = session->list().find(path);
    if (!ndx) continue;
    const FileEntry& entry = session->list().entry(*ndx);
    // Protocol 30 carries no nanoseconds: then a stored 0 is all there is on both sides.
    if (!S_ISREG(entry.mode) || entry.size != size || entry.mtime_s != mtime_s || entry.mtime_ns != mtime_ns)
      continue;
    best = {session, *ndx};
  }
  return best;
}

std::vector<SessionPool::Found> SessionPool::find_entry(std::string_view path) const {
  std::vector<Found> out;
  for (const auto& session : sessions_) {
    if (!session->armed() || session->paused() || session->spec().purpose == SessionSpec::Purpose::kStream)
      continue;
    if (const auto ndx = session->list().find(path)) out.push_back({session, *ndx});
  }
  return out;
}

std::shared_ptr<RemoteSession> SessionPool::share(RemoteSession& session) const {
  for (const auto& candidate : sessions_) {
    if (candidate.get() == &session) return candidate;
  }
  return nullptr;
}

void SessionPool::close_all(const Error& why) {
  closing_ = true;
  second_.close();
  drop_ready();
  const auto all = sessions_;
  for (const auto& session : all) session->fail(why);
}

void SessionPool::tick(Clock::time_point now) {
  // Whoever had the other connections may be gone.
  if (limit_ < std::max(1U, options_.max_sessions) && now - limit_lowered_at_ >= kLimitStays) {
    ++limit_;
    limit_lowered_at_ = now;
  }
  const auto stall = std::max(options_.timeout / kStallParts, kShortestStall);
  const auto all = sessions_;
  for (const auto& session : all) session->tick(now, stall);
}

bool SessionPool::busy() const {
  return std::any_of(sessions_.begin(), sessions_.end(), [](const auto& session) {
    return !session->armed() || session->outstanding() > 0 || session->paused();
  });
}

SessionTotals SessionPool::totals() const {
  SessionTotals out = past_;
  for (const auto& session : sessions_) session->add_wire(out.wire);
  return out;
}

void SessionTotals::add(WirePurpose purpose, uint64_t bytes_in, uint64_t bytes_out) {
  WireTotals& to = wire[static_cast<size_t>(purpose)];
  to.bytes_in += bytes_in;
  to.bytes_out += bytes_out;
}

WireTotals SessionTotals::all() const {
  WireTotals sum;
  for (const WireTotals& part : wire) {
    sum.bytes_in += part.bytes_in;
    sum.bytes_out += part.bytes_out;
    sum.sessions += part.sessions;
  }
  return sum;
}

void SessionPool::session_established(RemoteSession& session) {
  ever_established_ = true;
  features_.protocol = session.protocol();
  opening_time_ = Clock::now() - session.opened_at();
  if (session.spec().paged && !session.paged()) features_.pages = false;
  link_.connected(session.describe());
}

void SessionPool::session_showed(RemoteSession& session) {
  features_.abilities = session.shown();
  features_.abilities_seen = true;
  const std::chrono::seconds timeout(session.server_io_timeout_s());
  ready_for_ = timeout.count() > 0 ? std::min(kReadyFor, timeout * 2 / 3) : kReadyFor;
  if (session.spec().demanded) keep_ready();
}

// The next one goes step by step, and shows what it is.
void SessionPool::session_misjudged(const Error& why) {
  log_info("the server is not what it was taken for: " + why.message());
  forget_abilities();
}

void SessionPool::forget_abilities() {
  features_.abilities.reset();
  features_.abilities_seen = false;
  features_.may_guess = false;
}

void SessionPool::session_received(RemoteSession& /*session*/) {
  link_.alive();
}

void SessionPool::session_xattrs(RemoteSession& session, uint32_t ndx,
                                 std::vector<std::pair<std::string, std::string>> values) {
  if (xattr_user_ != nullptr) xattr_user_->session_xattrs(session, ndx, std::move(values));
}

void SessionPool::session_over(RemoteSession& session, const Error& why, bool was_established) {
  ++ended_count_;
  if (was_established) worked_until_ = Clock::now();
  session.add_wire(past_.wire);
  if (why.code() != Errc::kCanceled) count_failure(past_.failures, why.code());
  const auto position = std::find_if(sessions_.begin(), sessions_.end(),
                                     [&](const auto& other) { return other.get() == &session; });
  RSYNCFS_CHECK(position != sessions_.end());
  // It may be on the stack of its own callback: dispose of it from a fresh one.
  loop_.post([doomed = std::move(*position)]() mutable { doomed.reset(); });
  sessions_.erase(position);
  if (closing_ || why.code() == Errc::kCanceled) {
    schedule_changed();
    return;
  }
  if (!was_established && refused_for_a_moment(why)) {
    give_up_ready();
    return schedule_changed_in(kRefusalPause);
  }
  consider_end(why, was_established);
}

bool SessionPool::refused_for_a_moment(const Error& why) const {
  if (!is_too_many(why)) return false;
  if (ready_ || Clock::now() - ready_given_up_at_ < kCountedAfterEnd) return true;
  const bool known_limit = limit_ < std::max(1U, options_.max_sessions);
  if (in_use() > (known_limit ? limit_ : 1)) return false;
  return Clock::now() - worked_until_ < kCountedAfterEnd;
}

void SessionPool::consider_end(const Error& why, bool was_established) {
  log_info("session ended: " + why.message());
  const auto now = Clock::now();
  // It may have waited for something that was not said: the next one goes step by step.
  if (why.code() == Errc::kTimedOut && !features_.abilities_seen) forget_abilities();
  if (drop_refused_feature(why)) {
    log_warn("the server refuses what lists are asked for with: going on without (" + why.message() + ")");
  } else if (!was_established && try_other_dialect(why)) {
    log_info("trying again with fewer server options");
  } else if (is_too_many(why) && in_use() > 0) {
    limit_ = in_use();
    limit_lowered_at_ = now;
    log_info("the server allows " + std::to_string(limit_) + " connections at once");
  } else if (was_established && why.code() == Errc::kTimedOut) {
    link_.stalled(why, now);
    shell_.leave_shared();
    link_failed_(why);
  } else if (!was_established || why.code() == Errc::kDisconnected) {
    // What ends a session that worked is no news about the others; without any other the link is gone.
    if (in_use() == 0 || !was_established) {
      link_.attempt_failed(why, now);
      if (why.code() == Errc::kTimedOut) shell_.leave_shared();
      link_failed_(why);
    } else {
      link_.session_broke(now);
    }
  } else if (why.code() == Errc::kUnsupported) {
    // It says no to what every list needs, each time.
    link_.attempt_failed(why, now);
    link_failed_(why);
  } else if (why.code() == Errc::kProtocol || why.code() == Errc::kLimit) {
    link_.session_broke(now);
  }
  schedule_changed();
}

bool SessionPool::drop_refused_feature(const Error& why) {
  if (why.code() != Errc::kUnsupported) return false;
  const auto names = [&why](const char* option) { return why.message().find(option) != std::string::npos; };
  if (names("--delete")) return std::exchange(features_.report_missing, false);
  if (names("--hard-links")) return std::exchange(features_.hard_links, false);
  if (names("compress")) return std::exchange(features_.compresses, false);
  // Of the options that it names only these can be done without.
  if (names("configured to refuse") && !names("--acls") && !names("--xattrs")) return false;
  return std::exchange(features_.acls, false) || std::exchange(features_.xattrs, false);
}

// Restricted shells (rrsync) and old servers refuse an option by ending before the first byte of the
// protocol.
bool SessionPool::try_other_dialect(const Error& why) {
  if (options_.source.kind != Source::Kind::kShell || ever_established_) return false;
  if (why.code() != Errc::kDisconnected && why.code() != Errc::kProtocol) return false;
  for (const char* hopeless : {"connect to host", "not resolve", "not found", "No such file"}) {
    if (why.message().find(hopeless) != std::string::npos) return false;
  }
  constexpr unsigned kDialects = 4;  // the two options, each there or not
  dialect_ = (dialect_ + 1) % kDialects;
  features_.report_missing = (dialect_ & 1) == 0;
  features_.messages_in_band = (dialect_ & 2) == 0;
  return dialect_ != 0;
}

void SessionPool::schedule_changed() {
  if (change_scheduled_) return;
  change_scheduled_ = true;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    change_scheduled_ = false;
    changed_();
  });
}

void SessionPool::schedule_changed_in(std::chrono::milliseconds pause) {
  loop_.run_after(pause, [this, alive = alive_] {
    if (*alive) changed_();
  });
}

// Somebody wanted a session and must wait for the link's next attempt.
void SessionPool::schedule_retry(bool demanded) {
  const auto due = link_.next_attempt(demanded);
  if (retry_timer_ != 0) {
    if (retry_due_ <= due) return;
    loop_.cancel_timer(retry_timer_);
  }
  retry_due_ = due;
  const auto wait = std::max<std::chrono::nanoseconds>(due - Clock::now(), std::chrono::milliseconds(10));
  retry_timer_ = loop_.run_after(wait, [this] {
    retry_timer_ = 0;
    changed_();
  });
}

}  // namespace rsyncfs
