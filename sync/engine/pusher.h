// SPDX-License-Identifier: GPL-3.0-or-later
// Brings local changes to the source: plans a batch, has it carried out, and plans again, until nothing
// differs. What is pending in the Replica is the queue; here is only what failed lately, and who waits.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "sync/engine/deletion_brake.h"
#include "sync/engine/lister.h"
#include "sync/engine/push_conflicts.h"
#include "sync/engine/push_failures.h"
#include "sync/engine/push_fences.h"
#include "sync/engine/push_job.h"
#include "sync/engine/push_outlook.h"
#include "sync/engine/push_probe.h"
#include "sync/engine/push_sessions.h"
#include "sync/engine/recent_findings.h"
#include "sync/engine/sent_versions.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread only; plans and acknowledgements run on the store strand.
class Pusher {
 public:
  Pusher(const EngineContext& context, SessionPool& pool, Lister& lister, PushFences& fences,
         std::function<void(NodeId, Done<void>)> hydrate);
  ~Pusher();
  Pusher(const Pusher&) = delete;
  Pusher& operator=(const Pusher&) = delete;

  // Reads what an earlier mount has left halfway; before any list is asked for, which may show it.
  void load();
  // Takes that up, and whatever is pending.
  void start();
  // Something was changed here: it is looked at soon.
  void note_change();
  // A session may be had that could not be before.
  void link_changed();
  // `hopeless`: the source has been away for longer than a request waits.
  void link_failed(bool hopeless);
  void pump();
  void tick(Clock::time_point now);
  void flush(RequestId id, std::optional<NodeId> below, Done<void> done);
  bool cancel(RequestId id);
  // A brake: nothing is pushed until resume().
  void stop(const std::string& why);
  void resume();
  // The source has something else than base says at these names, as a list showed.
  void decide(std::vector<StepCollision> collisions);
  void fail_everything(const Error& why);
  bool waiting() const {
    return job_ || probe_ || !flushes_.empty() || sessions_.any() || outlook_.looking(Clock::now());
  }
  PushStatus status() const;

 private:
  struct Flush {
    RequestId id = 0;
    std::optional<NodeId> below;
    int64_t asked_ms = 0;
    Clock::time_point asked;
    Done<void> done;
  };
  // What planning found, from the store strand.
  struct Found {
    PushPlan plan;
    uint64_t removals = 0;  // that are pending; not counted while there may be any number
    std::map<RequestId, std::optional<std::string>> left;  // for each flush: one path that it waits for
  };

  // What the store remembers of pushes that have not ended.
  struct Remembered {
    SentVersions sent;
    std::optional<PushBatch> unfinished;
  };
  Result<Remembered> remembered() const;

  bool may_push() const;
  bool may_look_ahead() const;
  PushRules rules(int64_t now_ms);
  void plan_ahead(Clock::time_point due, PushOutlook::Planned planned);
  Clock::time_point next_session() const;  // before that none is to be opened
  void plan();
  struct Question {  // of a flush
    RequestId id = 0;
    std::optional<NodeId> below;
    int64_t asked_ms = 0;
  };
  Result<Found> find(const PushRules& rules, const std::vector<Question>& flushes,
                     uint64_t most_removals) const;
  void planned(Result<Found> found);
  void start_job(PushBatch batch, bool again);
  std::unique_ptr<PushJob> make_job(PushBatch batch, bool again);
  void job_over(PushOutcome outcome);
  void note_broken(const Error& why, const PushBatch& batch);
  void note_failure(NodeId node, const std::string& path, const Error& why);
  void note_done(const PushOutcome& outcome, const PushBatch& batch);
  void note_latency(const PushOutcome& outcome, const PushBatch& batch);
  void decide_next();
  void list_again(const StepCollision& collision);
  bool brakes(const Found& found);
  void answer_flushes(const std::map<RequestId, std::optional<std::string>>& left, bool idle);
  bool has_failed(const Flush& flush) const;
  void finish_first();
  void probe();
  void probed(const Result<void>& end);
  void tell_read_only(const Error& why);
  void keep_unfinished(const PushBatch& batch);
  void forget_unfinished();
  void note_finish_attempt(const PushOutcome& outcome);
  void schedule(Clock::time_point due);
  void schedule_in(std::chrono::milliseconds delay) { schedule(Clock::now() + delay); }
  // The same, of something to push.
  void schedule_push_in(std::chrono::milliseconds delay);

  // The next plan, where there is nothing to wait for.
  static constexpr std::chrono::milliseconds kSoon{20};

  const EngineContext& context_;
  SessionPool& pool_;
  Lister& lister_;
  PushFences& fences_;
  RecentFindings recent_;
  PushSessions sessions_;
  PushOutlook outlook_;
  const PushJob::Surroundings around_;

  bool loaded_ = false;
  bool started_ = false;
  bool probed_ = false;
  std::unique_ptr<PushProbe> probe_;
  bool closing_ = false;
  bool planning_ = false;
  bool deciding_ = false;
  bool dirty_ = false;  // changed since the last plan began
  std::unique_ptr<PushJob> job_;
  bool job_is_again_ = false;
  std::optional<PushBatch> unfinished_;
  unsigned finish_attempts_ = 0;  // of it, that were more than a link that broke
  Clock::time_point finish_retry_{};
  SentVersions sent_;
  std::vector<StepCollision> collisions_;
  PushFailures failures_;
  std::vector<Flush> flushes_;
  std::string read_only_;  // why nothing can be pushed at all
  std::string stopped_;
  DeletionBrake deletions_;
  size_t batch_limit_;
  TimerId timer_ = 0;
  Clock::time_point due_{};
  Clock::time_point link_retry_{};
  Clock::time_point plan_began_{};
  Clock::duration plan_took_{0};
  Clock::time_point next_plan_{};  // unless somebody waits
  bool wants_session_ = false;     // until then, or until the pool says that one may be had
  unsigned link_failures_ = 0;
  unsigned idle_runs_ = 0;
  PushStatus totals_;
  LatencyHistogram latency_;
  PendingSummary local_only_;  // as of the last plan
  std::mt19937 random_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
