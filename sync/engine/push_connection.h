// SPDX-License-Identifier: GPL-3.0-or-later
// One live session that pushes: a transport stream joined to the wire's state machine, in a slot of the
// session pool.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "io/base/result.h"
#include "io/loop.h"
#include "sync/engine/session_pool.h"
#include "sync/rsync/push_session.h"
#include "sync/transport/connect.h"

namespace rsyncfs {

// Told of what the server says, on the loop thread, from inside the connection: it may be closed then, not
// destroyed.
class PushUser : public PushEvents {
 public:
  // What was sent has left, down to a few pieces: more may be given.
  virtual void on_room() {}
  // Once, last, never from inside the calls below. Ok: the orderly end.
  virtual void on_ended(Result<void> end) = 0;
};

// Loop thread only.
class PushConnection final : private Stream::Handler, private PushEvents {
 public:
  // Null when no slot is free, or the link must not be tried: the pool calls `changed` when it is worth
  // another try. `config` without what all sessions have in common (sync/engine/session_settings.h); without
  // entries the server is led up to where its list should come: give(). `ready`: a stream to the server that
  // nobody has used yet; null: one is made.
  static std::shared_ptr<PushConnection> open(Loop& loop, SessionPool& pool, const SyncerOptions& options,
                                              PushConfig config, PushUser& user,
                                              std::unique_ptr<Stream> ready = nullptr);
  ~PushConnection() override;
  PushConnection(const PushConnection&) = delete;
  PushConnection& operator=(const PushConnection&) = delete;

  // The list, of a connection that was opened without; its user is from now on told. Errors end it.
  void give(std::vector<PushEntry> entries, PushUser& user);
  // Whoever opened it has heard all that he wants to hear.
  void set_user(PushUser& user) { user_ = &user; }
  // After calls on the wire: sends what it has to say.
  void flush();
  PushSession& wire() { return *wire_; }
  const PushConfig& config() const { return config_; }
  // Whether so much is waiting to be sent that the caller should wait for on_room().
  bool full() const;
  bool ended() const { return ended_; }
  // Ends it; the user is not called any more.
  void close(const Error& why);
  // Fails it when the server does not take or say anything for `stall`. Somebody who works on an answer calls
  // touch().
  void tick(Clock::time_point now, std::chrono::milliseconds stall);
  void touch() { waiting_since_ = Clock::now(); }
  uint64_t bytes_out() const { return stream_ ? stream_->bytes_out() : 0; }
  uint64_t bytes_in() const { return stream_ ? stream_->bytes_in() : 0; }

 private:
  PushConnection(Loop& loop, SessionPool& pool, const SyncerOptions& options, PushConfig config,
                 PushUser& user, std::unique_ptr<Stream> ready);
  void start();
  void begin_on_stream();
  void attached(Result<std::unique_ptr<Stream>> stream);
  void end(Result<void> why);
  bool try_again(const Result<void>& why);
  bool is_stale(const Error& why) const;
  void begin_again(std::chrono::milliseconds pause);
  void release(const Error& why);
  void note(const char* what) const;
  Error with_last_words(const Error& why) const;

  void on_bytes(std::span<const std::byte> data) override;
  void on_sent() override;
  void on_end(Result<void> why) override;
  void on_established() override;
  void on_request(PushRequest request) override { user_->on_request(std::move(request)); }
  void on_declined(size_t index, uint16_t iflags) override { user_->on_declined(index, iflags); }
  void on_item(size_t index, uint16_t iflags, std::string_view xname) override;
  void on_success(size_t index) override { user_->on_success(index); }
  void on_deleted(std::string_view path, bool directory) override { user_->on_deleted(path, directory); }
  void on_message(MessageKind kind, std::string_view text) override;
  void on_list_done() override;
  void on_finished() override { finished_ = true; }

  Loop& loop_;
  SessionPool& pool_;
  const SyncerOptions& options_;
  PushConfig config_;
  PushUser* user_;
  std::unique_ptr<PushSession> wire_;
  std::unique_ptr<ConnectAttempt> attempt_;
  std::unique_ptr<Stream> stream_;
  bool given_ = false;  // the server has its list, or will get it
  bool established_ = false;
  bool waited_ = false;  // the stream had been there before, and the server has not answered on it yet
  bool finished_ = false;
  bool ended_ = false;
  int refusals_ = 0;
  Clock::time_point waiting_since_;
  std::weak_ptr<PushConnection> self_;
};

}  // namespace rsyncfs
