// SPDX-License-Identifier: GPL-3.0-or-later
// Files that take the places of others without a moment in which there is nothing: each is linked into a
// spare directory under the name that it is to have, and moved from there over the old one (rename(2) on the
// server), those of one directory at a time. Broken off, it is run again from the start.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sync/engine/push_job.h"

namespace rsyncfs {

class PushReplaceJob final : public PushJob {
 public:
  // `again`: an earlier run may have left something in the spare directory.
  PushReplaceJob(const Surroundings& around, PushBatch batch, bool again, Finished finished);
  // As the last part of another job: what is at the places is known, and the caller tells the Replica.
  // `attr`: of every file, as the source has it now. `beside`: the path of what the spare directory is made
  // beside, which is where it will be looked for after a crash.
  PushReplaceJob(const Surroundings& around, PushBatch batch, const NodeAttributes& attr, std::string beside,
                 Finished finished);

  void start() override;

 private:
  void look_first();
  bool all_as_expected(const Findings& found) const;
  void judge(const Findings& found);
  void clear_spare(Task then);
  void next_directory();
  void link();
  void linked(const PushRunResult& result);
  void move_over();
  void moved(const PushRunResult& result);
  void record();
  std::string spare_path() const;
  bool went_on(const PushRunResult& result);

  const bool again_;
  const std::optional<NodeAttributes> attr_;
  const std::string beside_;  // empty: the first step's place
  std::vector<StepFacts> going_;
  std::vector<StepFacts> together_;  // of one directory
  std::vector<StepFacts> linked_;
  std::vector<StepFacts> done_;
};

}  // namespace rsyncfs
