// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/pusher.h"

#include <algorithm>
#include <utility>

#include "io/base/log.h"
#include "io/base/text.h"
#include "sync/engine/left_to_push.h"
#include "sync/engine/push_clear_job.h"
#include "sync/engine/push_data_job.h"
#include "sync/engine/push_journal.h"
#include "sync/engine/push_names_job.h"
#include "sync/engine/push_recovery_job.h"
#include "sync/engine/push_rename_job.h"
#include "sync/engine/push_replace_job.h"
#include "sync/engine/refused_options.h"
#include "sync/engine/spare_names.h"

namespace rsyncfs {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSettle{200};
// What was changed in one go is due within a moment, and goes out in one batch.
constexpr milliseconds kTogether{100};
// A plan looks at all that is pending. After one that found little to do the next is not made before this
// many times what it took, whatever changes meanwhile; but for those who wait.
constexpr int kRestFactor = 5;
constexpr milliseconds kLongestRest{1'000};
constexpr int kLongestWriteback = 5;  // times writeback_delay
constexpr unsigned kMaxFinishAttempts = 5;
constexpr size_t kMaxSmallSteps = 2'048;
constexpr std::chrono::nanoseconds kStallParts{3};

int64_t unix_ms_now() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class HeldNodes final : public PushHold {
 public:
  explicit HeldNodes(std::unordered_set<NodeId> nodes) : nodes_(std::move(nodes)) {}
  bool held(NodeId node) const override { return nodes_.contains(node); }

 private:
  const std::unordered_set<NodeId> nodes_;
};

}  // namespace

Pusher::Pusher(const EngineContext& context, SessionPool& pool, Lister& lister, PushFences& fences,
               std::function<void(NodeId, Done<void>)> hydrate)
    : context_(context),
      pool_(pool),
      lister_(lister),
      fences_(fences),
      sessions_(context, pool),
      outlook_(context, sessions_, recent_,
               {[this] { return may_look_ahead(); },
                [this](Clock::time_point due, PushOutlook::Planned planned) {
                  plan_ahead(due, std::move(planned));
                },
                [this] { pump(); }}),
      around_{context, sessions_, recent_, std::move(hydrate)},
      deletions_(context.options.max_delete),
      batch_limit_(PushRules().max_steps),
      random_(std::random_device{}()) {}

Pusher::~Pusher() {
  *alive_ = false;
  if (timer_ != 0) context_.loop.cancel_timer(timer_);
}

// The fence is up before the strand comes to any list.
void Pusher::load() {
  if (context_.options.read_only) return;  // nothing is pushed
  context_.store.post([this, alive = alive_]() mutable {
    auto found = remembered();
    if (found && found->unfinished) fences_.begin(*found->unfinished);
    context_.loop.post([this, alive = std::move(alive), found = std::move(found)]() mutable {
      if (!*alive || closing_) return;
      if (!found) return stop("the store cannot be read: " + found.error().message());
      sent_ = std::move(found->sent);
      unfinished_ = std::move(found->unfinished);
      loaded_ = true;
      pump();
    });
  });
}

Result<Pusher::Remembered> Pusher::remembered() const {
  Remembered out;
  const auto sent = context_.replica.meta(kSentMeta);
  if (!sent) return sent.error();
  if (*sent) out.sent = SentVersions::parse(**sent);
  const auto unfinished = context_.replica.meta(kUnfinishedMeta);
  if (!unfinished) return unfinished.error();
  if (*unfinished) out.unfinished = decode_batch(**unfinished, context_.replica.pending());
  return out;
}

void Pusher::start() {
  started_ = true;
  dirty_ = true;
  // A shell has no notion of a read-only module, and may ask its user something for each session.
  probed_ = context_.options.source.kind != Source::Kind::kDaemon;
  pump();
}

void Pusher::note_change() {
  dirty_ = true;
  schedule_push_in(kSettle);
}

void Pusher::schedule_push_in(milliseconds delay) {
  const auto due = Clock::now() + delay;
  schedule(due);
  outlook_.expect(due);
}

bool Pusher::may_push() const {
  return loaded_ && started_ && !closing_ && !context_.options.read_only && read_only_.empty() &&
         stopped_.empty();
}

void Pusher::link_changed() {
  if (!wants_session_) return;
  wants_session_ = false;
  link_retry_ = {};
}

// Who waits for one place, as fsync(2) does, is a request like any other; a flush of everything has limits of
// its own.
void Pusher::link_failed(bool hopeless) {
  if (!hopeless) return;
  auto given_up = take_if(flushes_, [](const Flush& flush) { return flush.below.has_value(); });
  for (Flush& flush : given_up) flush.done(pool_.link().failure("the limit"));
}

void Pusher::schedule(Clock::time_point due) {
  if (closing_) return;
  if (timer_ != 0) {
    if (due_ <= due) return;
    context_.loop.cancel_timer(timer_);
  }
  due_ = due;
  const auto wait = std::max<std::chrono::nanoseconds>(due - Clock::now(), milliseconds(1));
  timer_ = context_.loop.run_after(wait, [this] {
    timer_ = 0;
    dirty_ = true;
    pump();
  });
}

void Pusher::pump() {
  if (may_push() && !probed_ && !probe_) probe();
  if (!may_push() || planning_ || deciding_ || job_ || outlook_.looking(Clock::now())) return;
  if (!collisions_.empty()) return decide_next();
  if (!dirty_) return;
  // Whoever waits is answered although nothing can be sent now.
  if (const auto due = std::max(next_session(), next_plan_); flushes_.empty() && Clock::now() < due)
    return schedule(due);
  plan();
}

// The link's patience, and ours with a server that is there.
Clock::time_point Pusher::next_session() const {
  return std::max(link_retry_, pool_.link().next_attempt(!flushes_.empty()));
}

void Pusher::probe() {
  probe_ = std::make_unique<PushProbe>(
      context_, sessions_, spare_name(static_cast<uint32_t>(random_())), [this](const Result<void>& end) {
        context_.loop.post(
            [over = std::shared_ptr<PushProbe>(std::move(probe_))]() mutable { over.reset(); });
        probed(end);
      });
}

void Pusher::probed(const Result<void>& end) {
  if (closing_) return;
  if (!end && is_read_only(end.error())) return tell_read_only(end.error());
  // Whatever else is wrong shows again when there is something to push; without a link it is asked later.
  probed_ = end || !is_link_error(end.error());
}

void Pusher::tell_read_only(const Error& why) {
  if (!read_only_.empty()) return;
  read_only_ = why.message();
  log_warn("nothing can be pushed: " + read_only_);
  context_.events.on_read_only(read_only_);
  std::vector<Flush> waiting = std::exchange(flushes_, {});
  for (Flush& flush : waiting) flush.done(Error(Errc::kRefused, read_only_));
}

PushRules Pusher::rules(int64_t now_ms) {
  PushRules rules;
  rules.now_ms = now_ms;
  rules.urgent = !flushes_.empty();
  rules.settle_ms = kSettle.count();
  rules.writeback_ms = context_.options.writeback_delay.count();
  rules.longest_writeback_ms = kLongestWriteback * rules.writeback_ms;
  rules.together_ms = std::min<int64_t>(kTogether.count(), rules.writeback_ms / 10);
  rules.max_steps = batch_limit_;
  rules.max_small_steps = std::min(kMaxSmallSteps, batch_limit_ * kMaxSmallSteps / PushRules().max_steps);
  rules.max_small_steps = std::max<size_t>(1, rules.max_small_steps);
  const Source& source = context_.options.source;
  rules.moves = pool_.features().moves();
  rules.root_takes_moves = source.kind != Source::Kind::kDaemon || !source.path.empty();
  rules.spare_name = spare_name(static_cast<uint32_t>(random_()));
  return rules;
}

bool Pusher::may_look_ahead() const {
  return may_push() && !planning_ && !deciding_ && !job_ && !unfinished_ && flushes_.empty() &&
         collisions_.empty() && !pool_.link().down() && next_session() <= Clock::now() &&
         plan_took_ * kRestFactor < kLongestRest;
}

void Pusher::plan_ahead(Clock::time_point due, PushOutlook::Planned planned) {
  const auto now = Clock::now();
  const int64_t due_ms = unix_ms_now() + std::chrono::ceil<milliseconds>(due - now).count();
  context_.store.post([this, alive = alive_, rules = rules(due_ms), held = HeldNodes(failures_.held(now)),
                       planned = std::move(planned)]() mutable {
    rules.hold = &held;
    rules.local_only = &context_.local_only;
    auto plan = plan_push(context_.replica.pending(), rules);
    context_.loop.post(
        [this, alive = std::move(alive), plan = std::move(plan), planned = std::move(planned)]() mutable {
          if (!*alive) return;
          const int64_t later_ms = plan && !plan->batch ? plan->next_due_ms : 0;
          planned(std::move(plan));
          // Users were still at it.
          if (later_ms != 0) outlook_.expect(Clock::now() + milliseconds(later_ms - unix_ms_now()));
        });
  });
}

void Pusher::plan() {
  dirty_ = false;
  planning_ = true;
  const auto now = Clock::now();
  plan_began_ = now;
  std::vector<Question> flushes;
  for (const Flush& flush : flushes_) flushes.push_back({flush.id, flush.below, flush.asked_ms});
  context_.store.post([this, alive = alive_, rules = rules(unix_ms_now()),
                       held = HeldNodes(failures_.held(now)), flushes = std::move(flushes),
                       most = deletions_.room(now)]() mutable {
    rules.hold = &held;
    rules.local_only = &context_.local_only;
    auto found = find(rules, flushes, most);
    context_.loop.post([this, alive = std::move(alive), found = std::move(found)]() mutable {
      if (*alive) planned(std::move(found));
    });
  });
}

Result<Pusher::Found> Pusher::find(const PushRules& rules, const std::vector<Question>& flushes,
                                   uint64_t most_removals) const {
  Found out;
  const PendingChanges& pending = context_.replica.pending();
  auto plan = plan_push(pending, rules);
  if (!plan) return plan.error();
  out.plan = std::move(*plan);
  if (pending.summary().names > most_removals) {
    const auto removals = pending.removals();
    if (!removals) return removals.error();
    out.removals = *removals;
  }
  for (const Question& flush : flushes) {
    auto left = find_left(context_.replica, context_.local_only, flush.below, flush.asked_ms);
    if (!left) return left.error();
    out.left[flush.id] = std::move(*left);
  }
  return out;
}

void Pusher::planned(Result<Found> found) {
  planning_ = false;
  if (closing_) return;
  const auto now = Clock::now();
  const bool much = found && found->plan.batch && found->plan.batch->steps.size() >= batch_limit_ / 4;
  plan_took_ = now - plan_began_;
  const Clock::duration rest = std::min<Clock::duration>(kRestFactor * plan_took_, kLongestRest);
  next_plan_ = much ? now : now + rest;
  // What was found to wait is not made to wait for longer.
  if (found && !found->plan.batch && found->plan.next_due_ms != 0)
    next_plan_ = std::min(next_plan_, now + milliseconds(found->plan.next_due_ms - unix_ms_now()));
  if (!found) {
    const auto say = found.error().code() == Errc::kNotFound ? log_debug : log_error;
    say("planning what to push: " + found.error().message());
    return schedule_in(kFirstPushBackoff);
  }
  local_only_ = found->plan.local_only;
  // What a list has shown meanwhile is older than what would be done now.
  if (!collisions_.empty()) {
    dirty_ = true;
    return pump();
  }
  const bool idle =
      !found->plan.batch && !unfinished_ && found->plan.next_due_ms == 0 && !failures_.changes_meanwhile();
  answer_flushes(found->left, idle);
  if (const auto due = next_session(); (unfinished_ || found->plan.batch) && Clock::now() < due) {
    dirty_ = true;
    return schedule(due);
  }
  recent_.expect(std::move(found->plan.looks));
  if (unfinished_) return finish_first();
  if (brakes(*found)) return;
  if (found->plan.batch) return start_job(std::move(*found->plan.batch), false);
  if (idle && found->plan.held == 0 && found->plan.blocked == 0) deletions_.note_none_pending();
  if (found->plan.next_due_ms != 0)
    schedule_push_in(std::max(kSoon, milliseconds(found->plan.next_due_ms - unix_ms_now())));
  if (found->plan.held > 0) {
    if (const auto next = failures_.next()) schedule(*next);
  } else if (found->plan.next_due_ms == 0 && found->plan.blocked == 0) {
    failures_.clear();  // of what is not pending any more
  }
  if (dirty_) pump();
}

// What broke off in the middle comes before anything else; but not for ever.
void Pusher::finish_first() {
  if (finish_attempts_ > kMaxFinishAttempts) {
    const PushStep& first = unfinished_->steps.front();
    const PushFailure* const failure = failures_.find(first.node);
    log_warn("given up halfway: " +
             (failure != nullptr ? failure->text(Clock::now()) : escape_control(first.path)));
    forget_unfinished();
    dirty_ = true;
    return pump();
  }
  if (finish_retry_ > Clock::now()) {
    dirty_ = true;
    link_retry_ = finish_retry_;
    return schedule(link_retry_);
  }
  start_job(PushBatch(*unfinished_), true);
}

void Pusher::keep_unfinished(const PushBatch& batch) {
  unfinished_ = batch;
  context_.store.post([&replica = context_.replica, text = encode_batch(batch)] {
    const auto kept = replica.set_meta(kUnfinishedMeta, text);
    if (!kept) log_error("the store cannot be written: " + kept.error().message());
  });
}

// Nothing is halfway any more.
void Pusher::forget_unfinished() {
  fences_.end();
  finish_attempts_ = 0;
  finish_retry_ = {};
  if (!unfinished_) return;
  unfinished_.reset();
  context_.store.post([&replica = context_.replica] {
    const auto kept = replica.set_meta(kUnfinishedMeta, "");
    if (!kept) log_error("the store cannot be written: " + kept.error().message());
  });
}

std::unique_ptr<PushJob> Pusher::make_job(PushBatch batch, bool again) {
  auto finished = [this, alive = alive_](PushOutcome outcome) {
    if (*alive) job_over(std::move(outcome));
  };
  const bool run_again = takes_several_sessions(batch) && batch.action != PushAction::kData;
  if (again && !run_again)
    return std::make_unique<PushRecoveryJob>(around_, std::move(batch), sent_, std::move(finished));
  switch (batch.action) {
    case PushAction::kRenameDirectory:
      again = again || batch.steps.front().halfway;
      return std::make_unique<PushRenameJob>(around_, std::move(batch), again, std::move(finished));
    case PushAction::kReplace:
      return std::make_unique<PushReplaceJob>(around_, std::move(batch), again, std::move(finished));
    case PushAction::kData:
      return std::make_unique<PushDataJob>(around_, std::move(batch), sent_, std::move(finished));
    default:
      return std::make_unique<PushNamesJob>(around_, std::move(batch), again, sent_, std::move(finished));
  }
}

void Pusher::start_job(PushBatch batch, bool again) {
  log_debug("pushing: " + std::string(push_action_name(batch.action)) + ", " +
            std::to_string(batch.steps.size()) + " from " + escape_control(batch.steps.front().path));
  for (PushStep& step : batch.steps) {
    const PushFailure* const failure = failures_.find(step.node);
    step.halfway = failure != nullptr && failure->halfway;
    step.failures = failure != nullptr ? failure->times : 0;
  }
  outlook_.discard();
  fences_.begin(batch);
  if (!again && leaves_traces(batch)) keep_unfinished(batch);
  job_is_again_ = again;
  job_ = make_job(std::move(batch), again);
  job_->start();
}

// More deletions in a row than the user allowed: somebody has to say that they are meant.
bool Pusher::brakes(const Found& found) {
  if (!found.plan.batch || found.plan.batch->action != PushAction::kDelete) return false;
  const uint64_t would_be = std::max<uint64_t>(found.removals, found.plan.batch->steps.size());
  if (!deletions_.holds(Clock::now(), would_be)) return false;
  stop(std::to_string(would_be) + " more deletions are to be pushed, max_delete is " +
       std::to_string(context_.options.max_delete));
  return true;
}

void Pusher::stop(const std::string& why) {
  if (closing_ || !stopped_.empty()) return;
  stopped_ = why;
  log_warn("pushing is stopped: " + stopped_);
  std::vector<Flush> waiting = std::exchange(flushes_, {});
  for (Flush& flush : waiting) flush.done(Error(Errc::kRefused, "pushing is stopped: " + stopped_));
}

void Pusher::resume() {
  if (started_ && !loaded_ && !stopped_.empty()) load();  // the store could not be read
  stopped_.clear();
  read_only_.clear();
  probed_ = false;
  deletions_.release();
  dirty_ = true;
  pump();
}

void Pusher::decide(std::vector<StepCollision> collisions) {
  for (StepCollision& collision : collisions) {
    collision.listed = true;
    collisions_.push_back(std::move(collision));
  }
  pump();
}

void Pusher::decide_next() {
  deciding_ = true;
  StepCollision collision = std::move(collisions_.back());
  collisions_.pop_back();
  context_.store.post([this, alive = alive_, collision = std::move(collision), sent = sent_]() mutable {
    auto decided = decide_conflict(context_.replica, context_.options, sent, collision);
    // What is held until the next attempt: what is here, or what is to go from there.
    auto concerned = context_.replica.pending().local_binding(collision.parent, collision.name);
    if (concerned && *concerned == 0)
      concerned = context_.replica.pending().base_binding(collision.parent, collision.name);
    context_.loop.post([this, alive = std::move(alive), decided = std::move(decided),
                        collision = std::move(collision),
                        node = concerned ? *concerned : NodeId{0}]() mutable {
      if (!*alive) return;
      deciding_ = false;
      if (closing_) return;
      dirty_ = true;
      if (!decided) {
        log_error("a conflict could not be settled: " + escape_control(collision.path) + ": " +
                  decided.error().message());
        note_failure(node, collision.path, decided.error());
      } else {
        if (!decided->changes.empty()) context_.events.on_changes(std::move(decided->changes));
        if (!decided->nothing) failures_.erase(node);
        const bool known = decided->nothing && collision.listed;
        if (decided->nothing && !collision.listed)
          note_failure(node, collision.path, Error(Errc::kChanged, "it changed at the source meanwhile"));
        if (!known) list_again(collision);
      }
      pump();
    });
  });
}

// What the source has at the name is news for those who look at it.
void Pusher::list_again(const StepCollision& collision) {
  const size_t slash = collision.path.rfind('/');
  lister_.refresh(collision.parent,
                  slash == std::string::npos ? std::string() : collision.path.substr(0, slash));
  lister_.pump();
}

void Pusher::flush(RequestId id, std::optional<NodeId> below, Done<void> done) {
  if (!stopped_.empty()) return done(Error(Errc::kRefused, "pushing is stopped: " + stopped_));
  if (context_.options.read_only || !read_only_.empty()) {
    const PendingSummary left = context_.replica.pending().summary();
    if (left.names == 0 && left.nodes == 0) return done(Result<void>());
    return done(Error(Errc::kRefused, read_only_.empty() ? "the mount is read-only" : read_only_));
  }
  flushes_.push_back({id, below, unix_ms_now(), Clock::now(), std::move(done)});
  // What failed lately gets another chance at once.
  failures_.retry();
  finish_retry_ = {};
  link_retry_ = {};
  dirty_ = true;
  pump();
}

bool Pusher::cancel(RequestId id) {
  auto found = take_if(flushes_, [id](const Flush& flush) { return flush.id == id; });
  if (found.empty()) return false;
  found.front().done(Error(Errc::kCanceled, "interrupted"));
  return true;
}

// `idle`: nothing can be done now, so what is left has failed.
void Pusher::answer_flushes(const std::map<RequestId, std::optional<std::string>>& left, bool idle) {
  std::vector<Flush> waiting = std::exchange(flushes_, {});
  for (Flush& flush : waiting) {
    const auto found = left.find(flush.id);
    const bool asked_since = found == left.end();
    const bool waits = !asked_since && (found->second || unfinished_);
    if (asked_since || (waits && !idle && !has_failed(flush))) {
      flushes_.push_back(std::move(flush));
    } else {
      flush.done(found->second ? failures_.left_over(*found->second) : Result<void>());
    }
  }
}

// Who waits for one file, as fsync(2) does, is told of its failure whatever else is under way.
bool Pusher::has_failed(const Flush& flush) const {
  if (!flush.below) return false;
  const PushFailure* const failure = failures_.find(*flush.below);
  return failure != nullptr && failure->last >= flush.asked;
}

void Pusher::tick(Clock::time_point now) {
  const auto stall =
      std::max<milliseconds>(context_.options.timeout / kStallParts.count(), milliseconds(2'000));
  if (job_) job_->tick(now, stall);
  if (probe_) probe_->tick(now, stall);
  sessions_.tick(now, stall);
}

void Pusher::fail_everything(const Error& why) {
  closing_ = true;
  if (timer_ != 0) context_.loop.cancel_timer(std::exchange(timer_, 0));
  outlook_.close();
  job_.reset();
  probe_.reset();
  sessions_.close();
  std::vector<Flush> waiting = std::exchange(flushes_, {});
  for (Flush& flush : waiting) flush.done(why);
}

PushStatus Pusher::status() const {
  PushStatus out = totals_;
  const PendingSummary pending = context_.replica.pending().summary();
  const auto others = [](uint64_t all, uint64_t local) { return all - std::min(all, local); };
  out.local_only = std::max(local_only_.names, local_only_.nodes);
  out.pending_names = others(pending.names, local_only_.names);
  out.pending_nodes = others(pending.nodes, local_only_.nodes);
  const bool any = out.pending_names + out.pending_nodes > 0;
  out.pending_bytes = any ? others(pending.bytes, local_only_.bytes) : 0;
  out.oldest_s = any ? pending.oldest_ms / 1000 : 0;
  if (job_) job_->add_transfers(out.sending);
  out.latency = latency_.now();
  out.failing = failures_.texts(kMaxListedFailures);
  out.stopped = stopped_;
  const auto conflicts = context_.replica.pending().conflicts(kMaxConflictRecords);
  if (conflicts) out.conflicts = conflicts->size();
  return out;
}

}  // namespace rsyncfs
