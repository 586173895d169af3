// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rsyncfs::support {

struct CompareOptions {
  bool link_counts = true;  // of everything but directories, whose count no file list carries
  bool owners = true;
  bool xattrs = true;  // with them the ACLs, which are the system.posix_acl_* attributes
  bool contents = true;
  bool nanoseconds = true;  // false: whole seconds of times, which is what protocol 30 carries
  bool directory_times = true;
  bool root_itself = true;               // the attributes of the two roots
  uint64_t contents_limit = UINT64_MAX;  // larger files are not read
  size_t most_differences = 40;          // then the comparison ends
};

// Compares two trees: names; type, mode, link count, owner, group, device number, size, mtime (ns), link
// targets, extended attributes, contents. One line per difference. Not compared: device, inode and change
// time, which no copy keeps; access times, which reading moves; blocks, which depend on the file system;
// attributes user.rsyncfs.*, which only a mount has.
std::vector<std::string> compare_trees(const std::string& expected, const std::string& actual,
                                       const CompareOptions& options = {});

// The lines as one text.
std::string join_lines(const std::vector<std::string>& lines);

}  // namespace rsyncfs::support
