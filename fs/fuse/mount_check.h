// SPDX-License-Identifier: GPL-3.0-or-later
// Finds out beforehand why a mount would fail, since mount(2) and fusermount3 say little. Private to fs/fuse.
#pragma once

#include <string>

#include "io/base/result.h"

namespace rsyncfs {

// The mountpoint as an absolute path without links. Errors (kOs, kUsage) name the cause in one line.
Result<std::string> check_mountpoint(const std::string& mountpoint);

// /dev/fuse can be opened; for ordinary users: fusermount3 is there, and allow_other is allowed.
Result<void> check_fuse_usable(bool allow_other);

}  // namespace rsyncfs
