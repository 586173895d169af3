// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

namespace rsyncfs::support {

// All mounts of this process, the last one first. Source: /proc/self/mountinfo, so a dead mount is found
// without being touched.
struct MountEntry {
  std::string point;
  std::string type;
};
std::vector<MountEntry> mount_table();

// Mount points at or below `path` (absolute, no trailing slash), innermost first.
std::vector<std::string> mounts_below(const std::string& path);
bool is_mounted(const std::string& path);

// Takes a mount away without waiting for anybody: umount2(MNT_DETACH), or fusermount3 -uz for ordinary users.
bool detach_mount(const std::string& path);

}  // namespace rsyncfs::support
