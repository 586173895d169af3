// SPDX-License-Identifier: GPL-3.0-or-later
// One batch on its way to the source: what it is made of, and what became of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sync/engine/push_facts.h"
#include "sync/engine/push_run.h"
#include "sync/engine/push_sessions.h"
#include "sync/engine/recent_findings.h"
#include "sync/engine/remote_check.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// The source has something else at a name than base says: to be decided (sync/engine/push_conflicts.h).
struct StepCollision {
  NodeId parent = 0;
  std::string name;
  std::string path;
  std::optional<KeptListedName> theirs;  // nullopt: nothing
  bool other_bytes = false;              // than base has, whatever size and time say
  bool listed = false;                   // by a list, and not found by a push that it stopped
  bool comes_back = false;  // a directory that cannot be removed: others have put something in it
};

struct StepFailure {
  NodeId node = 0;
  std::string path;
  Error why;
  bool halfway = false;  // a part of it is done
};

struct DirectoryToList {
  NodeId node = 0;
  std::string path;
};

struct PushOutcome {
  std::vector<StepFailure> failures;
  std::vector<StepCollision> collisions;
  // It ended early: what is in neither list may or may not be done, and will be planned again.
  std::optional<Error> broken;
  // Something of a job of several sessions is done: it must be run again before anything else is planned.
  bool unfinished = false;
  size_t done = 0;  // steps that the source has acknowledged
  uint64_t files = 0;
  uint64_t bytes_sent = 0;   // of contents
  uint64_t bytes_saved = 0;  // of contents, not sent because the source had them
  std::vector<NodeId> pushed;
  std::vector<DirectoryToList> to_list;  // got names at the source that nobody knows of here
};

// Loop thread only; the store is read and written on its strand. Destroying a job gives it up.
class PushJob {
 public:
  using Finished = UniqueFunction<void(PushOutcome)>;

  // What jobs share; outlives them.
  struct Surroundings {
    const EngineContext& context;
    PushSessions& sessions;
    RecentFindings& recent;
    // Brings the base's bytes of a file here.
    std::function<void(NodeId, Done<void>)> hydrate;
  };

  // `finished`: once, never from inside start().
  PushJob(const Surroundings& around, PushBatch batch, Finished finished);
  virtual ~PushJob();
  PushJob(const PushJob&) = delete;
  PushJob& operator=(const PushJob&) = delete;

  virtual void start() = 0;
  virtual void tick(Clock::time_point now, std::chrono::milliseconds stall);
  virtual void add_transfers(std::vector<TransferStatus>& /*out*/) const {}
  const PushBatch& batch() const { return batch_; }

 protected:
  const EngineContext& context() const { return around_.context; }
  const Surroundings& around() const { return around_; }
  SessionPool& pool() const { return around_.sessions.pool(); }
  PushOutcome& outcome() { return outcome_; }

  // Runs `work` on the store strand, then `then(result)` on the loop if the job is still there.
  template <class T>
  void on_store(UniqueFunction<Result<T>()> work, UniqueFunction<void(Result<T>)> then) {
    auto task = [&loop = context().loop, alive = alive_, work = std::move(work),
                 then = std::move(then)]() mutable {
      auto result = work();
      loop.post([alive = std::move(alive), then = std::move(then), result = std::move(result)]() mutable {
        if (*alive) then(std::move(result));
      });
    };
    context().store.post(std::move(task));
  }
  // Reads facts() of the batch, then `then()`; on an error the job ends.
  void gather(Task then);
  using Findings = std::vector<RemoteFinding>;
  // What the source has at these paths; on an error the job ends.
  void look(std::vector<std::string> paths, UniqueFunction<void(Findings)> then);
  // The same before anything was done: what was seen there a moment ago will do if all of it `fits`, and the
  // places of the next jobs are looked at, too. `next`: the sessions that follow if nothing speaks against
  // it, without their lists; they are opened meanwhile.
  struct NextSession {
    PushConfig config;
    size_t count = 1;
  };
  void look_before(std::vector<std::string> paths, const std::function<bool(const Findings&)>& fits,
                   const std::vector<NextSession>& next, UniqueFunction<void(Findings)> then);
  // `directories_will_do`: PushRun::be_done_with_list().
  void push(PushConfig config, UniqueFunction<void(PushRunResult)> then, bool directories_will_do = false);
  // Makes sure that the server moves what it is asked to, then `then()`; where it refuses, the job ends.
  // `directory`: any that is there.
  void try_moving(const std::string& directory, Task then);
  // One transaction, then `then()`; on an error the job ends.
  void acknowledge(Acknowledged news, Task then);
  std::vector<StepFacts>& facts() { return facts_; }
  const std::vector<StepFacts>& facts() const { return facts_; }

  void fail(const PushStep& step, const Error& why, bool halfway = false);
  void collide(const PushStep& step, const RemoteFinding& found);
  // Ends the job because of the link, or the store.
  void break_off(const Error& why);
  void finish();
  bool over() const { return !finished_; }
  const std::shared_ptr<bool>& life() const { return alive_; }

 private:
  const Surroundings& around_;
  const PushBatch batch_;
  Finished finished_;
  PushOutcome outcome_;
  std::vector<StepFacts> facts_;
  std::unique_ptr<RemoteCheck> check_;
  std::unique_ptr<PushRun> run_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The path of directory `to` as seen from directory `from`, both below one root.
std::string relative_path(std::string_view from, std::string_view to);

// An error that says something about the link or the server, and nothing about what was pushed.
bool is_link_error(const Error& why);

}  // namespace rsyncfs
