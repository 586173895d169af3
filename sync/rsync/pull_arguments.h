// SPDX-License-Identifier: GPL-3.0-or-later
// What the `rsync --server --sender` at the other end is told: its command line, and the names to list.
#pragma once

#include <string>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/pull_session.h"

namespace rsyncfs {

// As validate_session_config(), and the paths and filters.
Result<void> validate_pull_config(const PullConfig& config);

// Everything a daemon is sent after "@RSYNCD: OK", its path escaped against the daemon's wildcards.
std::vector<std::string> daemon_arguments(const PullConfig& config);

// The names of config.paths as --files-from data: each ended by NUL, then an empty one. config.root must be
// clean.
std::string files_from_data(const PullConfig& config);

}  // namespace rsyncfs
