// SPDX-License-Identifier: GPL-3.0-or-later
// The command line of the `rsync --server --sender` at the other end. Source: rsync's options.c,
// server_options().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/pull_session.h"

namespace rsyncfs {

// Errc::kUsage for what cannot be put on the wire: NUL bytes, over-long names, a module with '/' or a line
// break.
Result<void> validate_pull_config(const PullConfig& config);

// `root` without empty and "." components and without trailing slashes; "/" stays.
std::string clean_root(std::string_view root);

// Everything a daemon is sent after "@RSYNCD: OK", its path escaped against the daemon's wildcards.
std::vector<std::string> daemon_arguments(const PullConfig& config);

// `root` below `module` as the one path argument: "module/root/", wildcards literal.
std::string daemon_path(std::string_view module, std::string_view root);

// The names of config.paths as --files-from data: each ended by NUL, then an empty one. config.root must be
// clean.
std::string files_from_data(const PullConfig& config);

}  // namespace rsyncfs
