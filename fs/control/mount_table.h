// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernel has mounted, read without touching any of it. Source: proc_pid_mountinfo(5).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

struct MountedAt {
  std::string mountpoint;  // raw bytes
  std::string type;        // "fuse.rsyncfs"
  std::string source;      // raw bytes
  std::string device;      // "0:54"
  std::string options;     // of the mount and of the file system, joined by ','
  // Looks like a mount of ours; `subtype=` may have renamed one, which its record tells.
  bool is_ours() const { return type == "fuse.rsyncfs"; }
  bool is_fuse() const { return type == "fuse" || type.rfind("fuse.", 0) == 0; }
};

std::vector<MountedAt> parse_mount_table(std::string_view mountinfo);
// As the process sees it; 0: this one.
Result<std::vector<MountedAt>> read_mount_table(pid_t process = 0);
// The topmost mount at exactly this path (absolute, no symbolic links).
std::optional<MountedAt> mounted_at(const std::string& mountpoint);

// The directory in which the mountpoint lies is resolved, the mountpoint is not: if it is a mount already,
// looking at it could wait for a daemon that does not answer. kOs: the cause alone.
Result<std::string> absolute_mountpoint(const std::string& path);

// Takes a mount away as the caller: umount2(2), or fusermount3 where that needs privilege. kOs with EBUSY,
// EINVAL (not mounted), EPERM.
Result<void> unmount_directly(const std::string& mountpoint, bool lazy);

// "pid 123 (bash)" for each process that is inside or has something open there, as far as the caller may see;
// at most kMaxListedUsers.
constexpr size_t kMaxListedUsers = 8;
std::vector<std::string> users_of_mount(const std::string& mountpoint);

}  // namespace rsyncfs
