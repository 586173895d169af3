// SPDX-License-Identifier: GPL-3.0-or-later
// What the state of a running mount means for its users.
#pragma once

#include <cstdint>

#include "fs/control/status_document.h"
#include "fs/doctor/finding.h"

namespace rsyncfs {

// Changes that wait for longer than this while the source is there are stuck.
constexpr int64_t kDoctorStuckS = 300;

// `now_s`: Unix time.
Findings check_mount(const MountStatus& status, int64_t now_s);

}  // namespace rsyncfs
