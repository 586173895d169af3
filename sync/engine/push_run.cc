// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_run.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

bool was_removed(const PushRunResult& result, const std::vector<std::string>& paths) {
  if (!result.end) return result.end.error().code() == Errc::kUnsupported;
  return std::none_of(paths.begin(), paths.end(),
                      [&](const std::string& path) { return result.errors.mention(path); });
}

PushRun::PushRun(const EngineContext& context, PushSessions& sessions, PushConfig config,
                 UniqueFunction<void(PushRunResult)> done)
    : context_(context), done_(std::move(done)), sessions_(sessions) {
  removes_ = config.kind == PushKind::kMove || config.kind == PushKind::kDelete;
  done_with_list_ = removes_ || config.kind == PushKind::kLink;
  const size_t count = config.entries.size();
  result_.succeeded.resize(count);
  result_.declined.resize(count);
  result_.mentioned.resize(count);
  connection_ = sessions_.open(std::move(config), *this);
  if (connection_) return;
  context_.loop.post([this, alive = alive_] {
    if (*alive) on_ended(Error(Errc::kCanceled, "no session can be had now"));
  });
}

PushRun::~PushRun() {
  *alive_ = false;
  if (!connection_) return;
  if (done_ || connection_->ended()) {
    connection_->close(Error(Errc::kCanceled, "given up"));
  } else {
    sessions_.let_end(std::move(connection_));
  }
}

void PushRun::on_request(PushRequest request) {
  if (done_) result_.declined[request.index] = true;
  connection_->wire().decline(request.index);
}

void PushRun::on_declined(size_t index, uint16_t /*iflags*/) {
  if (done_) result_.declined[index] = true;
}

void PushRun::on_item(size_t index, uint16_t /*iflags*/, std::string_view /*xname*/) {
  if (done_) result_.mentioned[index] = true;
}

void PushRun::on_success(size_t index) {
  if (done_) result_.succeeded[index] = true;
}

void PushRun::on_deleted(std::string_view path, bool /*directory*/) {
  if (done_) result_.deleted.emplace(path);
}

void PushRun::on_message(MessageKind kind, std::string_view text) {
  if (kind == MessageKind::kInfo && text.starts_with("skipping non-regular file")) refused_ = removes_;
  if (kind != MessageKind::kMotd) result_.errors.add(kind, text);
}

// Where the server may have no other beside it, the next one has to wait for its end anyway. What is said
// after that is of nobody's interest.
void PushRun::on_list_done() {
  const bool next_can_begin = sessions_.any_prepared() || sessions_.pool().may_make_room();
  // Another name of what was declined is asked for afterwards.
  const bool declined =
      std::find(result_.declined.begin(), result_.declined.end(), true) != result_.declined.end();
  if (!done_with_list_ || refused_ || declined || !next_can_begin) return;
  context_.loop.post([this, alive = alive_] {
    if (!*alive) return;
    auto done = std::exchange(done_, nullptr);
    if (done) done(std::move(result_));
  });
}

// A daemon that refuses "delete-*" says nothing, and does not know what missing names are.
void PushRun::on_ended(Result<void> end) {
  if (!end && end.error().message().find("invalid file mode") != std::string::npos) refused_ = removes_;
  result_.end =
      refused_ ? Error(Errc::kUnsupported, "the server refuses --delete-missing-args") : std::move(end);
  auto done = std::exchange(done_, nullptr);
  if (done) done(std::move(result_));
}

}  // namespace rsyncfs
