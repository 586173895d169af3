// SPDX-License-Identifier: GPL-3.0-or-later
// When is what the source lists the thing that we have? Pure functions.
#pragma once

#include <sys/stat.h>

#include <string_view>

#include "sync/replica/types.h"

namespace rsyncfs {

inline bool same_type(const ListedName& listed, const Node& stored) {
  return (listed.attr.mode & S_IFMT) == (stored.attr.mode & S_IFMT);
}

// False: the name leads to another node now. Otherwise only attributes may differ.
inline bool same_version(const ListedName& listed, const Node& stored, std::string_view stored_target) {
  if (!same_type(listed, stored)) return false;
  const NodeAttributes& a = listed.attr;
  const NodeAttributes& b = stored.attr;
  switch (a.mode & S_IFMT) {
    case S_IFREG:
      return a.size == b.size && a.mtime_s == b.mtime_s && a.mtime_ns == b.mtime_ns;
    case S_IFLNK:
      return listed.link_target == stored_target;
    case S_IFBLK:
    case S_IFCHR:
      return a.rdev_major == b.rdev_major && a.rdev_minor == b.rdev_minor;
    default:
      return true;
  }
}

// Of two of the same version; nlink counts where the listing gives it, and never for directories.
inline bool same_attributes(const ListedName& listed, const Node& stored) {
  const NodeAttributes& a = listed.attr;
  const NodeAttributes& b = stored.attr;
  const bool nlink_agrees = a.nlink == 0 || a.nlink == b.nlink || S_ISDIR(a.mode);
  return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.size == b.size && a.mtime_s == b.mtime_s &&
         a.mtime_ns == b.mtime_ns && a.rdev_major == b.rdev_major && a.rdev_minor == b.rdev_minor &&
         nlink_agrees;
}

}  // namespace rsyncfs
