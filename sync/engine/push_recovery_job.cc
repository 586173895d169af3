// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_recovery_job.h"

#include <sys/stat.h>

#include <algorithm>
#include <span>
#include <utility>

#include "io/base/log.h"
#include "io/base/text.h"
#include "sync/engine/base_view.h"
#include "sync/engine/push_clear_job.h"
#include "sync/engine/push_rescue_job.h"

namespace rsyncfs {

namespace {

// Of one batch, on the store strand.
class Traces {
 public:
  Traces(Replica& replica, PushAction action, const SentVersions& sent)
      : replica_(replica), action_(action), sent_(sent) {}

  // `others`: of the step's other names.
  Result<void> add(const PushStep& step, const RemoteFinding& at, std::span<const RemoteFinding> others) {
    if (at.unknown) return {};
    const auto base = replica_.pending().base_binding(step.parent, step.name);
    if (!base) return base.error();
    log_debug("left behind: " + escape_control(step.path) + ": there " +
              log_text(at.entry ? &at.entry->attr : nullptr) + ", base " +
              log_text(replica_.pending(), *base) +
              (*base == step.node ? "" : ", sent " + log_text(replica_.pending(), step.node)));
    if (action_ == PushAction::kDelete) {
      if (!at.entry && *base == step.node) news_.names.push_back({step.parent, step.name, 0});
      return {};
    }
    if (!at.entry || (*base != 0 && *base != step.node && *base != step.occupant)) return {};
    if (*base == step.node && action_ != PushAction::kData) return {};  // acknowledged after all
    const auto local = replica_.node(step.node);
    if (!local && local.error().code() != Errc::kNotFound) return local.error();
    const Node* const node = local ? &*local : nullptr;
    switch (action_) {
      case PushAction::kCreate:
        return add_made(step, node, *at.entry);
      case PushAction::kLink:
        return add_linked(step, *at.entry);
      case PushAction::kData:
        return add_sent(step, *at.entry, others);
      default:
        return {};
    }
  }

  // What the server has put aside, if that is nobody's version that was expected.
  Result<void> add_kept(const PushStep& step, const RemoteFinding& kept, const SentVersions& replaceable) {
    if (kept.unknown) return *kept.unknown;
    if (!kept.entry || replaceable.may_be(step.node, kept.entry->attr)) return {};
    for (const NodeId node : {step.node, step.occupant}) {
      const auto base = replica_.pending().base_of(node);
      if (!base && base.error().code() != Errc::kNotFound) return base.error();
      if (base && base->present && ExpectedEntry{base->attr, {}}.matches(*kept.entry)) return {};
    }
    others_.push_back({step.parent, step.name, step.path, *kept.entry});
    return {};
  }

  Acknowledged take() { return std::move(news_); }
  std::vector<ReplacedVersion> take_others() { return std::move(others_); }

 private:
  void bind(const PushStep& step, const KeptListedName& entry) {
    news_.names.push_back({step.parent, step.name, step.node});
    news_.found.emplace_back(step.node, entry);
  }

  // `node`: null when users have removed it since. The place was free, or base's, just before.
  Result<void> add_made(const PushStep& step, const Node* node, const KeptListedName& entry) {
    if (S_ISREG(entry.attr.mode)) return {};
    if (node != nullptr) {
      ExpectedEntry wanted{node->attr, {}};
      if (S_ISLNK(node->attr.mode)) {
        auto target = replica_.link_target(step.node);
        if (!target) return target.error();
        wanted.link_target = std::move(*target);
      }
      if (!wanted.matches(entry)) return {};
    }
    bind(step, entry);
    return {};
  }

  Result<void> add_linked(const PushStep& step, const KeptListedName& entry) {
    const auto base = replica_.pending().base_of(step.node);
    if (!base) return base.error().code() == Errc::kNotFound ? Result<void>() : base.error();
    if (base->present && ExpectedEntry{base->attr, {}}.matches(entry)) {
      news_.names.push_back({step.parent, step.name, step.node});
    }
    return {};
  }

  // What is not here of the file can be fetched from there: where users did not change it, it is as it was.
  Result<void> add_sent(const PushStep& step, const KeptListedName& entry,
                        std::span<const RemoteFinding> others) {
    if (!sent_.may_be(step.node, entry.attr)) return {};
    const auto names = replica_.pending().base_names_of(step.node, kMaxNamesOfNode);
    if (!names) return names.error();
    std::vector<Binding> arrived = {{step.parent, step.name, step.node}};
    for (size_t i = 0; i < others.size(); ++i) {
      const bool same = others[i].entry && ExpectedEntry{entry.attr, {}}.matches(*others[i].entry);
      if (same) arrived.push_back(step.other_names[i]);
    }
    const bool all = std::all_of(names->begin(), names->end(), [&](const Binding& name) {
      return std::find(arrived.begin(), arrived.end(), name) != arrived.end();
    });
    if (all) {
      bind(step, entry);
    } else {
      // Its other names lead to what was there before: the next push brings them together.
      for (Binding& place : arrived) news_.strangers.emplace_back(std::move(place), entry);
    }
    return {};
  }

  Replica& replica_;
  const PushAction action_;
  const SentVersions& sent_;
  Acknowledged news_;
  std::vector<ReplacedVersion> others_;
};

struct Judged {
  Acknowledged news;
  std::vector<ReplacedVersion> others;
};

bool puts_aside(const PushBatch& batch) {
  return batch.action == PushAction::kData && !spare_directory(batch).empty();
}

}  // namespace

PushRecoveryJob::PushRecoveryJob(const Surroundings& around, PushBatch batch, const SentVersions& sent,
                                 Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)), sent_(sent) {}

// A server that we do not hear any more may be about to put its file in the place of others': without that
// file it cannot, and what it has put aside by then is seen below.
void PushRecoveryJob::start() {
  outcome().unfinished = true;
  if (!puts_aside(batch())) return look_at_places();
  run_clearing(/*spare_too=*/false, [this] {
    outcome().failures.clear();
    look_at_places();
  });
}

void PushRecoveryJob::look_at_places() {
  std::vector<std::string> paths;
  for (const PushStep& step : batch().steps) paths.push_back(step.path);
  if (puts_aside(batch())) {
    for (const PushStep& step : batch().steps) paths.push_back(kept_path(batch(), step.path));
  }
  for (const PushStep& step : batch().steps)
    paths.insert(paths.end(), step.other_paths.begin(), step.other_paths.end());
  look(std::move(paths), [this](std::vector<RemoteFinding> found) { judge(std::move(found)); });
}

void PushRecoveryJob::judge(std::vector<RemoteFinding> found) {
  pool().reserve_for_push(true);
  on_store<Judged>(
      [&replica = context().replica, batch = batch(), sent = sent_,
       found = std::move(found)]() -> Result<Judged> {
        Traces traces(replica, batch.action, sent);
        const auto text = replica.meta(kReplaceableMeta);
        if (!text) return text.error();
        const SentVersions replaceable = SentVersions::parse(text->value_or(""));
        const size_t count = batch.steps.size();
        std::span<const RemoteFinding> others =
            std::span(found).subspan(puts_aside(batch) ? 2 * count : count);
        for (size_t i = 0; i < count; ++i) {
          const size_t names = batch.steps[i].other_paths.size();
          auto done = traces.add(batch.steps[i], found[i], others.first(names));
          if (!done) return done.error();
          others = others.subspan(names);
          if (!puts_aside(batch)) continue;
          done = traces.add_kept(batch.steps[i], found[count + i], replaceable);
          if (!done) return done.error();
        }
        return Judged{traces.take(), traces.take_others()};
      },
      [this](Result<Judged> judged) {
        if (!judged) return break_off(judged.error());
        rescue(std::move(judged->others), [this, news = std::move(judged->news)]() mutable {
          acknowledge(std::move(news), [this] { clear(); });
        });
      });
}

void PushRecoveryJob::rescue(std::vector<ReplacedVersion> others, Task then) {
  if (others.empty()) return then();
  rescue_ = std::make_unique<PushRescueJob>(
      around(), PushBatch(batch()), std::move(others),
      [this, then = std::move(then)](PushOutcome over) mutable {
        context().loop.post(
            [done = std::shared_ptr<PushJob>(std::move(rescue_))]() mutable { done.reset(); });
        outcome().to_list = std::move(over.to_list);
        if (!over.broken && over.failures.empty()) return then();
        outcome().failures = std::move(over.failures);
        over.broken ? break_off(*over.broken) : finish();
      });
  rescue_->start();
}

void PushRecoveryJob::clear() {
  if (batch().action != PushAction::kData) {
    outcome().unfinished = false;
    return finish();
  }
  run_clearing(/*spare_too=*/true, [this] { finish(); });
}

void PushRecoveryJob::run_clearing(bool spare_too, Task then) {
  clearing_ = std::make_unique<PushClearJob>(
      around(), PushBatch(batch()), spare_too,
      [this, spare_too, then = std::move(then)](PushOutcome over) mutable {
        context().loop.post(
            [done = std::shared_ptr<PushJob>(std::move(clearing_))]() mutable { done.reset(); });
        outcome().failures = std::move(over.failures);
        if (spare_too) outcome().unfinished = over.unfinished || over.broken;
        over.broken ? break_off(*over.broken) : then();
      });
  clearing_->start();
}

void PushRecoveryJob::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  PushJob::tick(now, stall);
  if (rescue_) rescue_->tick(now, stall);
  if (clearing_) clearing_->tick(now, stall);
}

}  // namespace rsyncfs
