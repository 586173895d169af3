// SPDX-License-Identifier: GPL-3.0-or-later
// The daemon's password, by rsync's rules; it is never in argv. Source: authenticate.c, rsync(1)
// "--password-file".
#pragma once

#include <sys/types.h>

#include <string>

#include "io/base/result.h"

namespace rsyncfs {

// The first line that is not empty. "-" is standard input. What is no regular file, others may read or write,
// is not root's when root reads it, or is reached through a stranger's symbolic link is refused.
Result<std::string> read_password_file(const std::string& path, uid_t reader);

}  // namespace rsyncfs
