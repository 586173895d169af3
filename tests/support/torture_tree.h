// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <string>

namespace rsyncfs::support {

struct TortureOptions {
  int odd_names = 10000;
  uint64_t seed = 1;
  bool large_files = true;  // large/five-gib and large/huge, which is 3 TiB; both are nearly all hole
  bool devices = true;      // only made by root
};

// A tree of all that a file list can say and few trees hold: names of any bytes, 255-byte names, deep paths,
// sizes beyond 32 bits, hard links across directories, special modes and files, dangling and odd links, times
// before 1970, beyond 2038 and with nanoseconds, extended attributes of all sizes, access and default ACLs,
// empty directories.
void make_torture_tree(const std::string& root, const TortureOptions& options = {});

}  // namespace rsyncfs::support
