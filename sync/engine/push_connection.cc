// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_connection.h"

#include <cerrno>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/session_settings.h"

namespace rsyncfs {

namespace {
// More than this is not queued for sending, so that memory stays small and a broken link is noticed.
constexpr size_t kMaxUnsentBytes = 2 << 20;

class Nobody final : public PushUser {
 public:
  void on_request(PushRequest /*request*/) override {}
  void on_finished() override {}
  void on_ended(Result<void> /*end*/) override {}
};

Nobody& nobody() {
  static Nobody instance;
  return instance;
}

}  // namespace

std::shared_ptr<PushConnection> PushConnection::open(Loop& loop, SessionPool& pool,
                                                     const SyncerOptions& options, PushConfig config,
                                                     PushUser& user, std::unique_ptr<Stream> ready) {
  if (!pool.take_slot()) return nullptr;
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): a private constructor
  std::shared_ptr<PushConnection> out(
      new PushConnection(loop, pool, options, std::move(config), user, std::move(ready)));
  out->self_ = out;
  out->note(out->stream_ ? "begins on a stream that is there" : "begins");
  out->start();
  return out;
}

PushConnection::PushConnection(Loop& loop, SessionPool& pool, const SyncerOptions& options, PushConfig config,
                               PushUser& user, std::unique_ptr<Stream> ready)
    : loop_(loop),
      pool_(pool),
      options_(options),
      config_(std::move(config)),
      user_(&user),
      stream_(std::move(ready)),
      given_(!config_.entries.empty()),
      waiting_since_(Clock::now()) {
  const std::string below = std::move(config_.root);
  apply_settings(options_, pool_.features(), config_);
  if (!below.empty()) {
    if (!config_.root.empty() && config_.root.back() != '/') config_.root += '/';
    config_.root += below;
  }
  config_.numeric_ids = true;
  config_.owner = true;
  const bool names_only =
      config_.kind == PushKind::kLink || config_.kind == PushKind::kMove || config_.kind == PushKind::kDelete;
  config_.acls = !names_only && options_.acls && pool_.features().acls;
  config_.xattrs = !names_only && options_.xattrs && pool_.features().xattrs;
  config_.fsync = pool_.features().fsync;
  config_.anchored = pool_.features().anchored;
  config_.acknowledge = pool_.features().acknowledgements;
  PushEvents& events = *this;
  // Only what has shown itself: a list that is misread is not to be risked.
  if (pool_.features().abilities_seen) config_.taken_for = pool_.features().abilities;
  if (!stream_) {
    if (auto prepared = pool_.take_ready()) {
      config_.logged_in = std::move(prepared->login);
      stream_ = std::move(prepared->stream);
    }
  }
  waited_ = stream_ != nullptr;
  wire_ = std::make_unique<PushSession>(config_, events);
}

PushConnection::~PushConnection() = default;

void PushConnection::start() {
  if (stream_) return begin_on_stream();
  const Source& source = options_.source;
  auto done = [this](Result<std::unique_ptr<Stream>> stream) { attached(std::move(stream)); };
  if (source.kind == Source::Kind::kDaemon) {
    attempt_ = connect_tcp(loop_, pool_.resolver(), options_.tcp, options_.connect_timeout, std::move(done));
    return;
  }
  attempt_ = pool_.shell().connect(shell_arguments(config_), std::move(done));
}

void PushConnection::attached(Result<std::unique_ptr<Stream>> stream) {
  if (ended_) return;
  if (!stream) {
    end(stream.error());
    return;
  }
  stream_ = std::move(*stream);
  touch();
  begin_on_stream();
}

void PushConnection::begin_on_stream() {
  stream_->pace(pool_.bandwidth(), Urgency::kPush);
  stream_->start(*this);
  flush();
}

void PushConnection::give(std::vector<PushEntry> entries, PushUser& user) {
  user_ = &user;
  given_ = true;
  note("gets its list");
  touch();
  if (ended_) return;
  config_.entries = entries;  // once more, if it has to be opened again
  if (const auto set = wire_->set_entries(std::move(entries)); !set) return end(set.error());
  flush();
}

void PushConnection::flush() {
  if (stream_ && !ended_) stream_->send(wire_->output());
}

bool PushConnection::full() const {
  return stream_ && stream_->unsent() > kMaxUnsentBytes;
}

void PushConnection::on_bytes(std::span<const std::byte> data) {
  if (ended_ || !stream_) return;
  touch();
  pool_.slot_received();
  const Result<void> result = wire_->receive(data);
  if (ended_) return;
  if (!result) {
    end(result.error());
  } else if (finished_) {
    end({});
  } else {
    flush();
    user_->on_room();
  }
}

void PushConnection::on_sent() {
  if (ended_) return;
  touch();
  if (!full()) user_->on_room();
}

void PushConnection::on_end(Result<void> why) {
  if (ended_ || !stream_) return;
  const Result<void> over = wire_->end_of_input();
  if (ended_) return;
  if (finished_) {
    end({});
  } else if (!over && (why.ok() || over.error().code() != Errc::kDisconnected)) {
    end(with_last_words(over.error()));
  } else {
    const std::string text = why ? "the server closed the connection" : why.error().message();
    end(with_last_words(Error(Errc::kDisconnected, "connection lost: " + text)));
  }
}

// A remote shell says on its standard error why it could not run rsync.
Error PushConnection::with_last_words(const Error& why) const {
  const std::string words = stream_ ? stream_->last_words() : std::string();
  if (words.empty()) return why;
  const auto say = [&words](const char* phrase) { return words.find(phrase) != std::string::npos; };
  Errc code = why.code();
  if (!established_ && say("Permission denied")) code = Errc::kAuth;
  if (!established_ && say("rrsync error: "))
    code = say("Another instance") ? Errc::kRefused : Errc::kUnsupported;
  Error out(code, words + " (" + why.message() + ")");
  return why.os_errno() == 0 ? out : out.with_errno(why.os_errno());
}

void PushConnection::on_established() {
  established_ = true;
  waited_ = false;
  std::string text = "connected, protocol " + std::to_string(wire_->protocol()) + ", ";
  text += checksum_name(wire_->checksum());
  if (wire_->compression() == CompressionKind::kZstd) text += ", zstd";
  if (wire_->compression() == CompressionKind::kZlibx) text += ", zlibx";
  note("is established");
  pool_.slot_established(std::move(text), wire_->protocol());
  user_->on_established();
}

void PushConnection::on_item(size_t index, uint16_t iflags, std::string_view xname) {
  user_->on_item(index, iflags, xname);
}

void PushConnection::on_message(MessageKind kind, std::string_view text) {
  if (kind == MessageKind::kInfo || kind == MessageKind::kMotd) {
    log_debug("server: " + std::string(text));
  } else {
    log_info("server: " + std::string(text));
  }
  user_->on_message(kind, text);
}

void PushConnection::on_list_done() {
  note("has gone through its list");
  user_->on_list_done();
}

// Where the time goes.
void PushConnection::note(const char* what) const {
  if (!log_enabled(LogLevel::kDebug)) return;
  log_debug("session that " + std::string(push_kind_name(config_.kind)) + ": " + what);
}

void PushConnection::release(const Error& why) {
  note("ends");
  ended_ = true;
  attempt_.reset();
  pool_.return_slot(why, established_, given_ && !is_stale(why), bytes_in(), bytes_out());
}

void PushConnection::close(const Error& why) {
  user_ = &nobody();
  if (ended_) return;
  release(why);
  // It may be on the stack of its own callback.
  loop_.post([self = self_.lock()]() mutable { self.reset(); });
}

// It was closed while it waited, by the server or by something on the way, which says nothing of the link.
bool PushConnection::is_stale(const Error& why) const {
  return waited_ && (why.code() == Errc::kDisconnected || why.code() == Errc::kTimedOut);
}

// A server with a limit of connections counts one of ours for a moment after it was closed; and it may be
// another one than it was. A connection that broke is another matter: what had gone out may have been done.
bool PushConnection::try_again(const Result<void>& why) {
  if (why || why.error().code() == Errc::kCanceled) return false;
  if (config_.taken_for && wire_->misjudged()) {
    pool_.slot_misjudged(why.error());
    config_.taken_for.reset();
    begin_again(std::chrono::milliseconds(0));
    return true;
  }
  // With a list that went out at once it may have been done all the same: its user looks.
  if (is_stale(why.error()) && (!given_ || !config_.taken_for)) {
    note("finds its stream closed");
    begin_again(std::chrono::milliseconds(0));
    return true;
  }
  // What was opened before it was needed is not in anybody's way.
  if (why.error().code() != Errc::kRefused || established_ || !given_) return false;
  if (++refusals_ > kMaxRefusals) return false;
  pool_.slot_refused();
  begin_again(kRefusalPause * refusals_);
  return true;
}

void PushConnection::begin_again(std::chrono::milliseconds pause) {
  attempt_.reset();
  config_.logged_in.reset();
  established_ = false;
  waited_ = false;
  // It may be on the stack of its own callback.
  loop_.post([stream = std::shared_ptr<Stream>(std::move(stream_))]() mutable { stream.reset(); });
  PushEvents& events = *this;
  loop_.run_after(pause, [self = self_.lock(), &events] {
    if (self->ended_) return;
    self->wire_ = std::make_unique<PushSession>(self->config_, events);
    self->start();
  });
}

void PushConnection::end(Result<void> why) {
  if (ended_ || try_again(why)) return;
  release(why ? Error(Errc::kCanceled, "done") : why.error());
  loop_.post(
      [self = self_.lock(), why = std::move(why)]() mutable { self->user_->on_ended(std::move(why)); });
}

void PushConnection::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  if (ended_ || !stream_) return;       // connecting has its own limit
  if (established_ && !given_) return;  // the server waits for us
  if (stream_->held_back()) touch();
  const auto limit = established_ ? stall : std::max(stall, options_.connect_timeout);
  if (now - waiting_since_ < limit) return;
  end(Error(Errc::kTimedOut, "the server stopped answering").with_errno(ETIMEDOUT));
}

}  // namespace rsyncfs
