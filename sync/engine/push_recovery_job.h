// SPDX-License-Identifier: GPL-3.0-or-later
// What a batch that broke off has done at the source without an acknowledgement: it is looked at, and base is
// told, before anything else is planned. Otherwise what users undo meanwhile would come back as somebody
// else's work. What of others it has replaced is rescued first.
#pragma once

#include <memory>
#include <vector>

#include "sync/engine/push_job.h"
#include "sync/engine/replaced_versions.h"
#include "sync/engine/sent_versions.h"

namespace rsyncfs {

class PushRecoveryJob final : public PushJob {
 public:
  // A batch that is not simply run again; `sent` outlives the job.
  PushRecoveryJob(const Surroundings& around, PushBatch batch, const SentVersions& sent, Finished finished);

  void start() override;
  void tick(Clock::time_point now, std::chrono::milliseconds stall) override;

 private:
  void look_at_places();
  void judge(std::vector<RemoteFinding> found);
  void rescue(std::vector<ReplacedVersion> others, Task then);
  void clear();
  void run_clearing(bool spare_too, Task then);

  const SentVersions& sent_;
  std::unique_ptr<PushJob> rescue_;
  std::unique_ptr<PushJob> clearing_;
};

}  // namespace rsyncfs
