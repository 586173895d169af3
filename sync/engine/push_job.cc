// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_job.h"

#include <algorithm>

#include "sync/engine/spare_names.h"

namespace rsyncfs {

PushJob::PushJob(const Surroundings& around, PushBatch batch, Finished finished)
    : around_(around), batch_(std::move(batch)), finished_(std::move(finished)) {}

PushJob::~PushJob() {
  *alive_ = false;
}

void PushJob::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  if (run_) run_->tick(now, stall);
}

void PushJob::gather(Task then) {
  on_store<std::vector<StepFacts>>(
      [&replica = context().replica, batch = batch_] { return gather_facts(replica, batch); },
      [this, then = std::move(then)](Result<std::vector<StepFacts>> facts) mutable {
        if (!facts) return break_off(facts.error());
        facts_ = std::move(*facts);
        then();
      });
}

void PushJob::look(std::vector<std::string> paths, UniqueFunction<void(std::vector<RemoteFinding>)> then) {
  check_ = std::make_unique<RemoteCheck>(
      context(), pool(), std::move(paths),
      [this, then = std::move(then)](Result<std::vector<RemoteFinding>> found) mutable {
        context().loop.post(
            [done = std::shared_ptr<RemoteCheck>(std::move(check_))]() mutable { done.reset(); });
        if (!found) return break_off(found.error());
        then(std::move(*found));
      },
      [this] { static_cast<void>(around_.sessions.drop_prepared()); });
}

void PushJob::look_before(std::vector<std::string> paths, const std::function<bool(const Findings&)>& fits,
                          const std::vector<NextSession>& next, UniqueFunction<void(Findings)> then) {
  const auto now = Clock::now();
  if (auto known = around_.recent.find(paths, now); known && fits(*known)) return then(std::move(*known));
  const size_t asked = paths.size();
  std::vector<std::string> all = around_.recent.with_expected(std::move(paths));
  look(all, [this, asked, all, now, then = std::move(then)](Findings found) mutable {
    for (size_t i = asked; i < all.size(); ++i) around_.recent.put(all[i], std::move(found[i]), now);
    found.resize(asked);
    then(std::move(found));
  });
  for (const NextSession& one : next) around_.sessions.prepare(one.config, one.count);
}

void PushJob::push(PushConfig config, UniqueFunction<void(PushRunResult)> then, bool directories_will_do) {
  run_ = std::make_unique<PushRun>(
      context(), around_.sessions, std::move(config),
      [this, then = std::move(then)](PushRunResult result) mutable {
        context().loop.post([done = std::shared_ptr<PushRun>(std::move(run_))]() mutable { done.reset(); });
        then(std::move(result));
      });
  if (directories_will_do) run_->be_done_with_list();
}

void PushJob::try_moving(const std::string& directory, Task then) {
  ServerFeatures& features = pool().features();
  if (features.moves() && features.moves_seen) return then();
  // A name that nothing has: if the server would move it, nothing happens.
  PushConfig config;
  config.kind = PushKind::kMove;
  config.root = directory;
  config.backup_dir = spare_name(0);
  config.entries.emplace_back().path = spare_name(0);
  push(std::move(config), [this, &features, then = std::move(then)](const PushRunResult& result) mutable {
    if (!result.end) return break_off(result.end.error());
    features.moves_seen = true;
    features.backup = true;
    features.deletes = true;
    then();
  });
}

void PushJob::acknowledge(Acknowledged news, Task then) {
  on_store<void>(
      [&replica = context().replica, news = std::move(news)] { return replica.pending().acknowledge(news); },
      [this, then = std::move(then)](const Result<void>& done) mutable {
        if (!done) return break_off(done.error());
        then();
      });
}

void PushJob::fail(const PushStep& step, const Error& why, bool halfway) {
  outcome_.failures.push_back({step.node, step.path, why, halfway});
}

void PushJob::collide(const PushStep& step, const RemoteFinding& found) {
  outcome_.collisions.push_back({step.parent, step.name, step.path, found.entry});
}

void PushJob::break_off(const Error& why) {
  outcome_.broken = why;
  finish();
}

void PushJob::finish() {
  if (!finished_) return;
  context().loop.post([finished = std::exchange(finished_, nullptr),
                       outcome = std::move(outcome_)]() mutable { finished(std::move(outcome)); });
}

std::string relative_path(std::string_view from, std::string_view to) {
  std::string out;
  if (!from.empty()) {
    const auto depth = 1 + std::count(from.begin(), from.end(), '/');
    for (auto i = depth; i > 0; --i) out += out.empty() ? ".." : "/..";
  }
  if (to.empty()) return out.empty() ? "." : out;
  if (!out.empty()) out += '/';
  return out.append(to);
}

bool is_link_error(const Error& why) {
  switch (why.code()) {
    case Errc::kUnreachable:
    case Errc::kTimedOut:
    case Errc::kDisconnected:
    case Errc::kCanceled:
    case Errc::kRefused:
    case Errc::kAuth:
      return true;
    default:
      return false;
  }
}

}  // namespace rsyncfs
