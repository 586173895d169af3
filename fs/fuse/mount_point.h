// SPDX-License-Identifier: GPL-3.0-or-later
// What of a mount lies outside of /dev/fuse: the mount table, taking it away, its read-ahead. Private to
// fs/fuse.
#pragma once

#include <optional>
#include <string>

#include "io/base/result.h"

namespace rsyncfs {

// The device number ("0:57") of the topmost mount at an absolute path; nullopt when nothing is mounted there.
// Source: proc_pid_mountinfo(5). The mount itself is not touched, so a dead one does not hang us.
std::optional<std::string> mounted_device(const std::string& mountpoint);

// umount(2) as root, fusermount3 otherwise. kOs with EBUSY while in use, unless `lazy`.
Result<void> take_mount_away(const std::string& mountpoint, bool lazy);

// Best effort: needs root and sysfs.
Result<void> set_read_ahead(const std::string& device, unsigned kib);

}  // namespace rsyncfs
