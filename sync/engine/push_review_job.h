// SPDX-License-Identifier: GPL-3.0-or-later
// What contents have really replaced is looked at once more, in the spare directory where the server has put
// it aside, and so are the places themselves: somebody's rename may come between the server's two steps. What
// was not expected is rescued; then the spare directory goes.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "sync/engine/push_job.h"
#include "sync/engine/replaced_versions.h"

namespace rsyncfs {

struct ReviewedPlace {
  PushStep step;
  std::optional<ExpectedEntry> expected;  // what was to be replaced
  std::optional<NodeAttributes> pushed;   // what the source has acknowledged
};

// The outcome's collisions are places that somebody has taken over at once. With a failure, or broken off,
// nothing of the batch may count as acknowledged: it is to be recovered. Unfinished, and no more, the spare
// directory alone is still to go.
class PushReviewJob final : public PushJob {
 public:
  // `replaceable`: other versions that are no surprise. `broke_off`: the server ended before its list did, so
  // the spare directory may be there with nothing in it.
  PushReviewJob(const Surroundings& around, PushBatch batch, std::vector<ReviewedPlace> places,
                SentVersions replaceable, bool broke_off, Finished finished);

  void start() override;
  void tick(Clock::time_point now, std::chrono::milliseconds stall) override;

 private:
  void judge(const Findings& found);
  bool is_expected(const ReviewedPlace& place, const KeptListedName& kept) const;
  void rescue(std::vector<ReplacedVersion> others);
  void clear();

  const std::vector<ReviewedPlace> places_;
  const SentVersions replaceable_;
  const bool broke_off_;
  std::unique_ptr<PushJob> rescue_;
};

}  // namespace rsyncfs
