// SPDX-License-Identifier: GPL-3.0-or-later
// What is to become of one name, or one node, that the source shows: a pure function of what the source had
// when it was last in agreement with us (base), of what users see (local), and of what the source has now
// (remote).
#pragma once

#include <cstdint>
#include <string_view>

#include "sync/replica/types.h"

namespace rsyncfs {

// What one of the three has.
struct Side {
  uint32_t mode = 0;  // with type bits; 0: nothing is there
  uint32_t uid = 0;
  uint32_t gid = 0;
  FileVersion version;  // size: of regular files
  uint64_t rdev = 0;
  std::string_view target;
  uint64_t xattr_set = 0;
  // Local: it is another object than the base's, or its bytes were changed here.
  bool other_object = false;

  bool exists() const { return mode != 0; }
  bool is_directory() const;
  bool is_file() const;
};

enum class Verdict : uint8_t {
  kNothing,     // the source is as it was: what differs here goes on differing
  kTakeRemote,  // here it is as it was: the source's state is taken
  kConverged,   // both came to the same: base becomes what the source has, and what is still different stays
                // so
  kMerge,  // theirs where only they changed something, ours where only we did; attributes that both changed:
           // ours
  kConflict,   // both changed what cannot be merged
  kRecreate,   // they removed what we changed: ours is to be made anew
  kResurrect,  // we removed what they changed: theirs comes back
};

Verdict judge(const Side& base, const Side& local, const Side& remote);

// Attributes that all three have.
struct MergedAttributes {
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  uint64_t xattr_set = 0;
  uint32_t overruled = 0;  // NodeDifference bits: both changed it, to different things, and ours stays
};
MergedAttributes merge_attributes(const Side& base, const Side& local, const Side& remote);

}  // namespace rsyncfs
