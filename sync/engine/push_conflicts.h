// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of a name where the source has something else than base says, while users have changed it too.
#pragma once

#include <string>
#include <vector>

#include "sync/engine/push_job.h"
#include "sync/engine/sent_versions.h"
#include "sync/engine/syncer.h"

namespace rsyncfs {

// The policy for a path.
ConflictPolicy conflict_policy(const SyncerOptions& options, const std::string& path);

struct ConflictDecision {
  std::vector<NameChange> changes;  // for the kernel
  bool conflict = false;            // it was one, and is recorded
  // Nothing had to be decided: the source is as base says, or nothing of ours differs there.
  bool nothing = false;
};

// On the store strand, one transaction and the record.
Result<ConflictDecision> decide_conflict(Replica& replica, const SyncerOptions& options,
                                         const SentVersions& sent, const StepCollision& collision);

}  // namespace rsyncfs
