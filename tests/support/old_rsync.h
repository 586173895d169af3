// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>

namespace rsyncfs::support {

struct OldRsync {
  std::optional<std::string> program;
  std::string reason;  // why there is none
};

// The oldest rsync 3.2 that Debian's package sources offer, unpacked once under the build directory by
// obtain-old-rsync.
// $RSYNCFS_OLD_RSYNC names a program to use instead.
OldRsync find_old_rsync();
// The same program; throws SetupFailure with the reason: a missing peer is a failed test, not a skipped one.
std::string require_old_rsync();

}  // namespace rsyncfs::support
