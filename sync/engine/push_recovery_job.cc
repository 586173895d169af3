// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_recovery_job.h"

#include <sys/stat.h>

#include <utility>

#include "io/base/log.h"
#include "io/base/text.h"
#include "sync/engine/push_clear_job.h"

namespace rsyncfs {

namespace {

// Of one batch, on the store strand.
class Traces {
 public:
  Traces(Replica& replica, PushAction action, const SentVersions& sent)
      : replica_(replica), action_(action), sent_(sent) {}

  Result<void> add(const PushStep& step, const RemoteFinding& at) {
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
        return add_sent(step, *at.entry);
      default:
        return {};
    }
  }

  Acknowledged take() { return std::move(news_); }

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
  Result<void> add_sent(const PushStep& step, const KeptListedName& entry) {
    if (!sent_.may_be(step.node, entry.attr)) return {};
    const auto names = replica_.pending().base_names_of(step.node, 2);
    if (!names) return names.error();
    if (names->size() > 1) {
      // Its other names lead to what was there before: the next push brings them together.
      news_.strangers.push_back({{step.parent, step.name, step.node}, entry});
    } else {
      bind(step, entry);
    }
    return {};
  }

  Replica& replica_;
  const PushAction action_;
  const SentVersions& sent_;
  Acknowledged news_;
};

}  // namespace

PushRecoveryJob::PushRecoveryJob(const Surroundings& around, PushBatch batch, const SentVersions& sent,
                                 Finished finished)
    : PushJob(around, std::move(batch), std::move(finished)), sent_(sent) {}

void PushRecoveryJob::start() {
  outcome().unfinished = true;
  std::vector<std::string> paths;
  for (const PushStep& step : batch().steps) paths.push_back(step.path);
  look(std::move(paths), [this](std::vector<RemoteFinding> found) { judge(std::move(found)); });
}

void PushRecoveryJob::judge(std::vector<RemoteFinding> found) {
  on_store<Acknowledged>(
      [&replica = context().replica, batch = batch(), sent = sent_,
       found = std::move(found)]() -> Result<Acknowledged> {
        Traces traces(replica, batch.action, sent);
        for (size_t i = 0; i < found.size(); ++i) {
          if (auto done = traces.add(batch.steps[i], found[i]); !done) return done.error();
        }
        return traces.take();
      },
      [this](Result<Acknowledged> news) {
        if (!news) return break_off(news.error());
        acknowledge(std::move(*news), [this] { clear(); });
      });
}

void PushRecoveryJob::clear() {
  outcome().unfinished = false;
  if (batch().action != PushAction::kData) return finish();
  clearing_ = std::make_unique<PushClearJob>(around(), PushBatch(batch()), [this](PushOutcome over) {
    context().loop.post([done = std::shared_ptr<PushJob>(std::move(clearing_))]() mutable { done.reset(); });
    outcome().failures = std::move(over.failures);
    outcome().unfinished = over.unfinished || over.broken;
    over.broken ? break_off(*over.broken) : finish();
  });
  clearing_->start();
}

void PushRecoveryJob::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  PushJob::tick(now, stall);
  if (clearing_) clearing_->tick(now, stall);
}

}  // namespace rsyncfs
