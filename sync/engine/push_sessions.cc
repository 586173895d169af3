// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_sessions.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {

// What was opened for something that was taken back, or has become due later.
constexpr std::chrono::seconds kPreparedFor{10};

// What the server is told before the list.
bool same_session(const PushConfig& a, const PushConfig& b) {
  return a.kind == b.kind && a.root == b.root && a.backup_dir == b.backup_dir && a.force == b.force &&
         a.exact == b.exact && a.only_existing == b.only_existing && a.only_missing == b.only_missing &&
         a.block_length == b.block_length && a.compression == b.compression &&
         a.compress_level == b.compress_level;
}

}  // namespace

class PushSessions::Held final : public PushUser {
 public:
  Held(PushSessions& owner, PushConfig asked) : owner_(owner), asked_(std::move(asked)) {}
  ~Held() override { close(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  void hold(std::shared_ptr<PushConnection> connection) { connection_ = std::move(connection); }
  const std::shared_ptr<PushConnection>& connection() const { return connection_; }
  std::shared_ptr<PushConnection> give_away() { return std::exchange(connection_, nullptr); }
  Clock::time_point since() const { return since_; }
  bool is_for(const PushConfig& config) const {
    return !connection_->ended() && same_session(asked_, config);
  }
  void close() {
    if (connection_) connection_->close(Error(Errc::kCanceled, "not needed"));
    connection_.reset();
  }

  void on_request(PushRequest request) override { connection_->wire().decline(request.index); }
  void on_finished() override {}
  void on_ended(Result<void> /*end*/) override { owner_.ended(*this); }

 private:
  PushSessions& owner_;
  const PushConfig asked_;
  const Clock::time_point since_ = Clock::now();
  std::shared_ptr<PushConnection> connection_;
};

PushSessions::PushSessions(const EngineContext& context, SessionPool& pool)
    : context_(context), pool_(pool), ready_(context.loop, pool.resolver(), context.options) {
  pool_.set_yield([this] { return drop_prepared(); });
}

PushSessions::~PushSessions() {
  pool_.set_yield(nullptr);
  close();
}

void PushSessions::prepare(const PushConfig& config, size_t count) {
  // A restricted shell (rrsync) makes the directory that a session goes into before anything is said there.
  if (context_.options.source.kind == Source::Kind::kShell && !config.root.empty()) return;
  auto there = static_cast<size_t>(std::count_if(
      prepared_.begin(), prepared_.end(), [&](const auto& candidate) { return candidate->is_for(config); }));
  for (; !closed_ && there < count && prepared_.size() < kMostPrepared && pool_.to_spare() > 0; ++there) {
    auto one = std::make_unique<Held>(*this, config);
    auto connection =
        PushConnection::open(context_.loop, pool_, context_.options, PushConfig(config), *one, ready_.take());
    if (!connection) return;
    one->hold(std::move(connection));
    prepared_.push_back(std::move(one));
  }
}

std::shared_ptr<PushConnection> PushSessions::open(PushConfig config, PushUser& user) {
  const auto one = std::find_if(prepared_.begin(), prepared_.end(),
                                [&](const auto& candidate) { return candidate->is_for(config); });
  if (one == prepared_.end())
    return PushConnection::open(context_.loop, pool_, context_.options, std::move(config), user,
                                ready_.take());
  auto connection = (*one)->give_away();
  prepared_.erase(one);
  connection->give(std::move(config.entries), user);
  return connection;
}

void PushSessions::let_end(std::shared_ptr<PushConnection> connection) {
  if (closed_) return connection->close(Error(Errc::kCanceled, "not needed"));
  auto one = std::make_unique<Held>(*this, PushConfig());
  connection->set_user(*one);
  one->hold(std::move(connection));
  ending_.push_back(std::move(one));
}

void PushSessions::ended(const Held& one) {
  for (auto* some : {&prepared_, &ending_}) {
    const auto at = std::find_if(some->begin(), some->end(),
                                 [&](const auto& candidate) { return candidate.get() == &one; });
    if (at == some->end()) continue;
    // It is on the stack of its own callback.
    context_.loop.post([over = std::shared_ptr<Held>(std::move(*at))]() mutable { over.reset(); });
    some->erase(at);
    return;
  }
}

void PushSessions::drop(std::vector<std::unique_ptr<Held>>& some) {
  for (auto& one : std::exchange(some, {})) one->close();
}

bool PushSessions::drop_prepared() {
  if (prepared_.empty()) return false;
  drop(prepared_);
  return true;
}

void PushSessions::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  std::erase_if(prepared_, [now](const auto& one) {
    const bool is_over = now - one->since() > kPreparedFor;
    if (is_over) one->close();
    return is_over;
  });
  for (const auto* some : {&prepared_, &ending_}) {
    for (const auto& one : *some) one->connection()->tick(now, stall);
  }
}

void PushSessions::close() {
  closed_ = true;
  drop(prepared_);
  drop(ending_);
  ready_.close();
}

}  // namespace rsyncfs
