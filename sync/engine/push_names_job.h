// SPDX-License-Identifier: GPL-3.0-or-later
// Batches of one session without contents: creations, moves, links, attributes, deletions. Where the session
// itself would replace or remove without asking, the places are looked at first; where it can be told to
// leave alone what is not as it should be, that is looked at afterwards. Deletions of
// trees go in one session, too (PushConfig::exact), or else in several: a server goes through a list from the
// top, and removes no directory that is not empty then.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sync/engine/push_job.h"
#include "sync/engine/sent_versions.h"

namespace rsyncfs {

class PushNamesJob final : public PushJob {
 public:
  // `again`: an earlier run of a kMove may have moved a part of a directory. `sent` outlives the job.
  PushNamesJob(const Surroundings& around, PushBatch batch, bool again, SentVersions& sent, Finished finished)
      : PushJob(around, std::move(batch), std::move(finished)), again_(again), sent_(sent) {}
  void start() override;
  // The session for deletions, without its list.
  static PushConfig deletion(const PushBatch& batch, const ServerFeatures& features);

 private:
  // What is to be done about a step, as far as the source was looked at.
  enum class Verdict : uint8_t { kGo, kDone, kCollides, kUnknown };

  bool checks_by_itself() const;
  void look_first();
  bool all_go(const Findings& found) const;
  void judge(const Findings& found);
  void note_collision(const StepFacts& facts, const RemoteFinding& at, const RemoteFinding& from);
  Verdict judge_step(const StepFacts& facts, const RemoteFinding& at, const RemoteFinding& from) const;
  static Verdict judge_creation(const StepFacts& facts, const RemoteFinding& at);
  Verdict judge_move(const StepFacts& facts, const RemoteFinding& at, const RemoteFinding& from) const;
  bool gives_new_time(size_t going) const;
  void remember();
  void sort_deepest_first();
  void sort_into_levels();
  void leave_out_what_stays();
  void run();
  void run_level();
  PushConfig session_config() const;
  PushConfig make_config();
  void add_link_entries(PushConfig& config);
  void ran(const PushRunResult& result);
  void settle(const PushRunResult& result);
  bool holds_something_new(const Error& why) const;
  void keep_filled(const StepFacts& directory, const Error& why);
  bool took(const PushRunResult& result, size_t place) const;
  bool went(const PushRunResult& result, std::string path) const;
  void note_done(const StepFacts& facts, const KeptListedName* found_done);
  void record();
  void look_at_declined();
  void judge_declined(const Findings& found);
  PushAction action() const { return batch().action; }
  const StepFacts& facts_of(size_t going) const { return facts()[going_[going]]; }

  const bool again_;
  SentVersions& sent_;
  bool unlooked_ = false;        // the session checks for itself
  std::vector<size_t> going_;    // places in facts() of what is pushed
  std::vector<size_t> entries_;  // by going_: its entry in the list
  bool exact_ = false;           // kDelete: trees in one session
  // kDelete, not exact: what goes in later sessions, each by what must have gone before it.
  std::vector<std::vector<size_t>> later_;
  std::set<std::string> staying_;  // kDelete: directories in which something is left
  std::vector<StepFacts> declined_;
  Clock::time_point began_;
  Acknowledged news_;
  size_t done_ = 0;
  std::optional<Error> ended_;
  Error unexplained_{Errc::kOs, ""};
};

}  // namespace rsyncfs
