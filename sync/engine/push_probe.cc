// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_probe.h"

#include <utility>

#include "sync/engine/push_job.h"

namespace rsyncfs {

PushProbe::PushProbe(const EngineContext& context, PushSessions& sessions, std::string name,
                     UniqueFunction<void(Result<void>)> done)
    : context_(context), sessions_(sessions), name_(std::move(name)), done_(std::move(done)) {
  ask(sessions.pool().features().moves() ? PushKind::kMove : PushKind::kDelete);
}

PushProbe::~PushProbe() = default;

void PushProbe::ask(PushKind kind) {
  PushConfig config;
  config.kind = kind;
  if (kind == PushKind::kMove) config.backup_dir = name_;
  config.entries.emplace_back().path = name_;
  run_ = std::make_unique<PushRun>(
      context_, sessions_, std::move(config), [this, kind](const PushRunResult& result) {
        context_.loop.post([over = std::shared_ptr<PushRun>(std::move(run_))]() mutable { over.reset(); });
        answered(kind, result.end);
      });
}

// A server that moves nothing may take changes of other kinds: what it refuses shows when that is to be done.
void PushProbe::answered(PushKind kind, const Result<void>& end) {
  ServerFeatures& features = sessions_.pool().features();
  if (end) features.deletes_seen = true;
  if (end && kind == PushKind::kMove) features.moves_seen = true;
  const bool may_be_moving =
      !end && kind == PushKind::kMove && !is_link_error(end.error()) && !is_read_only(end.error());
  if (may_be_moving) return ask(PushKind::kDelete);
  auto done = std::exchange(done_, nullptr);
  done(end);
}

bool is_read_only(const Error& why) {
  return why.code() == Errc::kPermission && why.message().find("read only") != std::string::npos;
}

}  // namespace rsyncfs
