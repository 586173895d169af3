// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/three_way.h"

#include <sys/stat.h>

#include "sync/replica/pending.h"

namespace rsyncfs {
namespace {

bool same_kind(const Side& a, const Side& b) {
  return (a.mode & S_IFMT) == (b.mode & S_IFMT);
}

bool same_time(const Side& a, const Side& b) {
  return a.version.mtime_s == b.version.mtime_s && a.version.mtime_ns == b.version.mtime_ns;
}

// The same object as far as its kind has bytes, a target or a number.
bool same_object(const Side& a, const Side& b) {
  if (!same_kind(a, b)) return false;
  switch (a.mode & S_IFMT) {
    case S_IFREG:
      return a.version == b.version;
    case S_IFLNK:
      // Nobody kept the target of one that was removed here before the source was known to have it.
      return a.target.empty() || b.target.empty() ? same_time(a, b) : a.target == b.target;
    case S_IFBLK:
    case S_IFCHR:
      return a.rdev == b.rdev;
    default:
      return true;
  }
}

bool same_owner(const Side& a, const Side& b) {
  return a.uid == b.uid && a.gid == b.gid;
}

// The time of a directory follows its names by itself.
bool same_attributes(const Side& a, const Side& b) {
  return a.mode == b.mode && same_owner(a, b) && a.xattr_set == b.xattr_set &&
         (a.is_directory() || same_time(a, b));
}

// What we changed are attributes at most.
bool keeps_object(const Side& base, const Side& local) {
  if (local.other_object || !same_kind(base, local)) return false;
  return base.is_file() || same_object(base, local);
}

bool untouched(const Side& base, const Side& local) {
  if (!base.exists() || !local.exists()) return base.exists() == local.exists();
  return keeps_object(base, local) && same_attributes(base, local);
}

Verdict judge_creations(const Side& local, const Side& remote) {
  return same_object(local, remote) ? Verdict::kConverged : Verdict::kConflict;
}

Verdict judge_edits(const Side& base, const Side& local, const Side& remote) {
  if (same_object(base, remote)) return Verdict::kMerge;
  if (same_object(local, remote)) return Verdict::kConverged;
  if (!keeps_object(base, local)) return Verdict::kConflict;
  // Our attributes are of something that is there no more.
  return same_kind(base, remote) ? Verdict::kMerge : Verdict::kTakeRemote;
}

}  // namespace

bool Side::is_directory() const {
  return S_ISDIR(mode);
}

bool Side::is_file() const {
  return S_ISREG(mode);
}

Verdict judge(const Side& base, const Side& local, const Side& remote) {
  if (!base.exists() && !remote.exists()) return Verdict::kNothing;
  if (base.exists() && remote.exists() && same_object(base, remote) && same_attributes(base, remote)) {
    return Verdict::kNothing;
  }
  if (untouched(base, local)) return Verdict::kTakeRemote;
  if (!base.exists()) return judge_creations(local, remote);
  if (!remote.exists()) return local.exists() ? Verdict::kRecreate : Verdict::kConverged;
  // An attribute that they changed is no reason to keep what we removed.
  if (!local.exists()) return same_object(base, remote) ? Verdict::kMerge : Verdict::kResurrect;
  return judge_edits(base, local, remote);
}

MergedAttributes merge_attributes(const Side& base, const Side& local, const Side& remote) {
  MergedAttributes out;
  const auto differs = [&](bool ours, bool theirs, bool agree, uint32_t bit) {
    if (ours && theirs && !agree) out.overruled |= bit;
    return ours;
  };
  const bool mode =
      differs(local.mode != base.mode, remote.mode != base.mode, local.mode == remote.mode, kModeDiffers);
  out.mode = mode ? local.mode : remote.mode;
  const bool owner =
      differs(!same_owner(local, base), !same_owner(remote, base), same_owner(local, remote), kOwnerDiffers);
  out.uid = owner ? local.uid : remote.uid;
  out.gid = owner ? local.gid : remote.gid;
  const bool xattrs = differs(local.xattr_set != base.xattr_set, remote.xattr_set != base.xattr_set,
                              local.xattr_set == remote.xattr_set, kXattrsDiffer);
  out.xattr_set = xattrs ? local.xattr_set : remote.xattr_set;
  // Of two times ours is as good as theirs.
  const Side& time = same_time(local, base) ? remote : local;
  out.mtime_s = time.version.mtime_s;
  out.mtime_ns = time.version.mtime_ns;
  return out;
}

}  // namespace rsyncfs
