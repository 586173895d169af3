// SPDX-License-Identifier: GPL-3.0-or-later
// One live rsync session: a transport stream joined to the wire's state machine.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/loop.h"
#include "sync/engine/ready_connection.h"
#include "sync/engine/request_window.h"
#include "sync/engine/session_settings.h"
#include "sync/engine/status.h"
#include "sync/engine/syncer.h"
#include "sync/engine/unreadable_places.h"
#include "sync/rsync/list_page.h"
#include "sync/rsync/pull_session.h"
#include "sync/transport/connect.h"
#include "sync/transport/remote_shell.h"

namespace rsyncfs {

// What a session is opened for.
struct SessionSpec {
  enum class Purpose : uint8_t { kTree, kDirectories, kStream };
  Purpose purpose = Purpose::kDirectories;
  std::vector<std::string> paths;  // as PullConfig::paths; empty for kTree
  bool paged = false;              // kTree in pages, for a tree whose list is not to be held
  bool attributes = true;          // ACLs and extended attributes, as far as they are wanted at all
  bool append = false;             // kStream from an offset
  bool delta = false;              // kStream of what differs from an older version
  bool demanded = false;           // somebody waits for it
  bool narrow = false;             // little of it may be on the wire that nobody has asked for
  bool polls = false;              // nobody waits for it: it is to show what others changed
  bool for_push = false;           // a part of a push: SessionPool::reserve_for_push()
  // kStream, of one path: asked for before the list is seen. Whoever is told of the list asks for it as if it
  // had not been, or ends the session.
  std::optional<uint64_t> first_offset;
};

// So many entries of pages may wait to be brought in; meanwhile the server is not told to go on.
constexpr uint64_t kMaxWaitingEntries = 20'000;
// A server that does not wait for that is not read from any more beyond so many.
constexpr uint64_t kMostUnreadEntries = 4 * kMaxWaitingEntries;

// A server with a limit of connections counts the last session of a push for a moment after it was closed.
constexpr int kMaxRefusals = 5;
constexpr std::chrono::milliseconds kRefusalPause{100};  // times the number of refusals

// A page, and what is known of when the source was read for it.
struct TreePage {
  ListPage page;
  Clock::time_point began;          // the server looked into the directory after this
  std::vector<std::string> errors;  // ServerErrors::texts that came since the page before
  bool errors_cut = false;
  uint64_t weight =
      0;  // for RemoteSession::pages_done(): its entries, or as many as take the memory that it takes
};

class RemoteSession;

// Told of a session's life, on the loop thread. A session may not be destroyed from inside these calls (its
// pool disposes of it later).
class SessionUser {
 public:
  virtual ~SessionUser() = default;
  virtual void session_listed(RemoteSession& session) = 0;
  // SessionSpec::paged: instead of it. What is brought in is to be told by RemoteSession::pages_done().
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the override keeps the page
  virtual void session_page(RemoteSession& /*session*/, TreePage /*page*/) {}
  virtual void session_pages_end(RemoteSession& /*session*/) {}
  // By way of the pool.
  using XattrList = std::vector<std::pair<std::string, std::string>>;
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the override keeps the values
  virtual void session_xattrs(RemoteSession& /*session*/, uint32_t /*ndx*/, XattrList /*values*/) {}
  // One piece of input has been worked through.
  virtual void session_drained(RemoteSession& /*session*/) {}
  // Once, last. Requests without done() are lost.
  virtual void session_ended(RemoteSession& session, const Error& why) = 0;
};

// Loop thread only, except where a listing is read on the store strand while the session is kept alive.
class RemoteSession final : private Stream::Handler, private PullEvents {
 public:
  class Keeper {
   public:
    virtual ~Keeper() = default;
    virtual void session_established(RemoteSession& session) = 0;
    // It got its list: what the server is, is known.
    virtual void session_showed(RemoteSession& session) = 0;
    // It was not what it was taken for, and is met again.
    virtual void session_misjudged(const Error& why) = 0;
    virtual void session_received(RemoteSession& session) = 0;
    virtual void session_xattrs(RemoteSession& session, uint32_t ndx,
                                std::vector<std::pair<std::string, std::string>> values) = 0;
    virtual void session_over(RemoteSession& session, const Error& why, bool was_established) = 0;
    // The server refused it only because it counts one for a moment that is over already.
    virtual bool refused_for_a_moment(const Error& why) const = 0;
  };

  // `bandwidth`, if any, must outlive the session.
  RemoteSession(Loop& loop, Resolver& resolver, RemoteShell& shell, BandwidthLimit* bandwidth,
                const SyncerOptions& options, ServerFeatures features, SessionSpec spec, SessionUser& user,
                Keeper& keeper, std::optional<PreparedStream> prepared);
  ~RemoteSession() override;
  RemoteSession(const RemoteSession&) = delete;
  RemoteSession& operator=(const RemoteSession&) = delete;

  void start();
  // Ends it; the user and the keeper are told with `why`.
  void fail(const Error& why);

  const SessionSpec& spec() const { return spec_; }
  SessionUser& user() { return *user_; }
  // The list is handed on: later events go to `user`.
  void set_user(SessionUser& user) { user_ = &user; }
  bool ended() const { return ended_; }
  bool established() const { return established_; }
  // Its list is larger than the whole of a tree is to be: that is why it ended.
  bool outgrown() const { return outgrown_; }
  bool paged() const { return wire_->paged(); }  // the server does it
  bool paging() const { return !ended_ && wire_->state() == PullState::kPaging; }
  uint64_t entries_paged() const { return entries_paged_; }
  // So many pages with so many entries are brought in.
  void pages_done(uint64_t weight);
  // Why it ended, when that was not our wish.
  const std::optional<Error>& broken() const { return broken_; }
  bool armed() const { return !ended_ && wire_->state() == PullState::kArmed; }
  const FileList& list() const { return wire_->list(); }
  ChecksumKind checksum() const { return wire_->checksum(); }
  int32_t checksum_seed() const { return wire_->checksum_seed(); }
  const ServerErrors& errors() const { return errors_; }
  // The tree's root as those texts spell it; not absolute: below a directory that only the server knows.
  std::string shown_root() const;
  // When the server was last heard while its list was coming; nullopt: it has not begun.
  std::optional<Clock::time_point> list_heard_at() const;
  Clock::time_point opened_at() const { return opened_at_; }
  int64_t opened_at_s() const { return opened_at_s_; }

  // Armed sessions. `bytes` is what the answer is expected to bring, for choosing among sessions.
  // `purpose`: what it counts for while the server answers it, up to request_done().
  void request_file(uint32_t ndx, FileSink& sink, uint64_t bytes, WirePurpose purpose = WirePurpose::kRead);
  void request_append(uint32_t ndx, uint64_t offset, FileSink& sink);
  // What differs from the basis of `sums`. The server may read for `silence` before it says anything; `bytes`
  // as for request_file().
  void request_delta(uint32_t ndx, const BlockSums& sums, FileSink& sink, std::chrono::milliseconds silence,
                     uint64_t bytes = 0);
  // It is about to be asked for something: it does not make room meanwhile.
  void hold() { ++held_; }
  void release() { --held_; }
  void request_done(uint64_t bytes);  // the sink was told; takes it off the books
  bool request_xattrs(uint32_t ndx);  // false: were given before in this session
  uint64_t outstanding_bytes() const { return outstanding_bytes_; }
  RequestWindow& window() { return window_; }
  size_t outstanding() const { return wire_->unanswered() + held_; }
  Clock::time_point last_used() const { return last_used_; }
  // When bytes of a requested file last came.
  void note_delivery(Clock::time_point now) { last_delivery_ = now; }
  Clock::time_point last_delivery() const { return last_delivery_; }

  // What comes from now on is for this; see SyncerOptions::bytes_per_second.
  void set_urgency(Urgency urgency);
  void set_paused(bool paused);
  bool paused() const { return paused_; }
  // SessionSpec::narrow: so many bytes are wanted of it; 0: all that follows.
  void expect(uint64_t bytes);
  // Keeps a paused session alive, and fails it when it does not answer within `stall`; until it is
  // established, within SyncerOptions::connect_timeout where that is longer.
  void tick(Clock::time_point now, std::chrono::milliseconds stall);

  SessionStatus status() const;
  uint64_t bytes_in() const { return past_in_ + (stream_ ? stream_->bytes_in() : 0); }
  uint64_t bytes_out() const { return past_out_ + (stream_ ? stream_->bytes_out() : 0); }
  WirePurpose purpose() const { return purpose_; }
  // From here on its bytes count for this.
  void attribute(WirePurpose purpose);
  // Adds what its bytes were for.
  void add_wire(WireByPurpose& totals) const;
  std::string describe() const;  // "connected, protocol 32, xxh128"
  int protocol() const { return wire_->protocol(); }
  ServerAbilities shown() const { return wire_->shown(); }
  int server_io_timeout_s() const { return wire_->server_io_timeout_s(); }
  CompressionKind compression() const { return wire_->compression(); }

 private:
  void on_bytes(std::span<const std::byte> data) override;
  void on_end(Result<void> why) override;
  void on_established() override;
  void on_list(const FileList& list) override;
  void on_page(ListPage page) override;
  void on_pages_end() override;
  void on_xattrs(uint32_t ndx, std::vector<std::pair<std::string, std::string>> values) override;
  void on_message(MessageKind kind, std::string_view text) override;
  void connect();
  void begin_on_stream();
  void attached(Result<std::unique_ptr<Stream>> stream);
  bool begin_again(const Error& why);
  bool list_is_foreseen(const FileList& list) const;
  void keep_error(std::string_view text);
  void flush();
  void turn_pages();
  Clock::time_point page_began(uint64_t entries_before);
  Error with_last_words(const Error& why) const;

  Loop& loop_;
  Resolver& resolver_;
  RemoteShell& shell_;
  BandwidthLimit* const bandwidth_;
  Urgency urgency_;
  const SyncerOptions& options_;
  const ServerFeatures features_;  // as they were known at first
  const SessionSpec spec_;
  PullConfig config_;
  SessionUser* user_;
  Keeper& keeper_;
  std::unique_ptr<PullSession> wire_;
  std::unique_ptr<ConnectAttempt> attempt_;
  std::unique_ptr<Stream> stream_;
  uint64_t past_in_ = 0;  // by connections that are given up
  uint64_t past_out_ = 0;
  ServerErrors errors_;
  size_t error_bytes_ = 0;
  uint64_t outstanding_bytes_ = 0;
  RequestWindow window_;
  size_t held_ = 0;
  std::chrono::milliseconds silence_{0};  // what is asked for takes so long to begin
  bool heard_ = false;                    // anything on this connection
  bool established_ = false;
  bool listed_ = false;
  bool foreseen_ = true;  // the list is what the first request went out for
  bool ended_ = false;
  std::optional<Error> broken_;
  bool outgrown_ = false;
  uint64_t entries_paged_ = 0;
  uint64_t entries_waiting_ = 0;  // of these, and one for each page
  size_t errors_paged_ = 0;       // of errors_.texts
  // When the server was told to go on, and what it had sent by then.
  struct Turn {
    Clock::time_point at;
    uint64_t entries;
  };
  std::deque<Turn> turns_;
  bool paused_ = false;
  bool awaiting_ = true;  // something is expected from the server
  Clock::time_point opened_at_;
  int64_t opened_at_s_;
  Clock::time_point last_used_;
  Clock::time_point last_delivery_{};
  Clock::time_point waiting_since_;
  Clock::time_point last_keep_alive_{};
  WirePurpose purpose_;
  std::deque<WirePurpose> answers_;  // of what request_file() asked for and request_done() did not take off
  WireByPurpose counted_{};          // but for what came since the purpose became what it is
  uint64_t counted_in_ = 0;
  uint64_t counted_out_ = 0;
};

}  // namespace rsyncfs
