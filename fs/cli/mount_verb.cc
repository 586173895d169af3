// SPDX-License-Identifier: GPL-3.0-or-later
#include <utility>

#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/daemon/launch.h"

namespace rsyncfs {

int run_mount(const MountRequest& request) {
  Result<MountPlan> plan = make_mount_plan(request, UserPlaces::of_this_process());
  if (plan) return launch(std::move(plan.value()));
  complain(plan.error().message());
  return plan.error().code() == Errc::kUsage ? kExitUsage : kExitFailed;
}

}  // namespace rsyncfs
