// SPDX-License-Identifier: GPL-3.0-or-later
// What the `rsync --server` that receives a push is told: its command line.
#pragma once

#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/push_session.h"

namespace rsyncfs {

// As validate_session_config(), and what belongs to the kind.
Result<void> validate_push_config(const PushConfig& config);

// Everything a daemon is sent after "@RSYNCD: OK", its path escaped against the daemon's wildcards.
std::vector<std::string> daemon_arguments(const PushConfig& config);

// Whether the options make the server read device numbers.
bool pushes_devices(PushKind kind);

}  // namespace rsyncfs
