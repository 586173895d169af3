// SPDX-License-Identifier: GPL-3.0-or-later
// The words of the command line: verbs, exit codes, --help.
#pragma once

#include <string>
#include <string_view>

namespace rsyncfs {

constexpr int kExitDone = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// Of `rsyncfs --help` and `rsyncfs mount --help`; every mount option is in it.
std::string mount_help();
// "rsyncfs: LINE" to standard error, control bytes escaped.
void complain(std::string_view line);

}  // namespace rsyncfs
