// SPDX-License-Identifier: GPL-3.0-or-later
// Runs a planned mount, in front or in the background.
#pragma once

#include "fs/daemon/mount_plan.h"

namespace rsyncfs {

// In the background: returns 0 when the mount is usable and its daemon on its own, 1 when it is not (nothing
// is mounted then). In front: returns when the mount has ended. Notes and the one line that names a failure
// go to standard error. No other thread may run yet.
int launch(MountPlan plan);

}  // namespace rsyncfs
