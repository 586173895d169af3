// SPDX-License-Identifier: GPL-3.0-or-later
// The decision about one name, as a table: every combination of what each side may have become.
#include "sync/replica/three_way.h"

#include <sys/stat.h>

#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/pending.h"

namespace rsyncfs {
namespace {

Side file(uint64_t size, int64_t mtime_s = 1, uint32_t permissions = 0644) {
  Side side;
  side.mode = S_IFREG | permissions;
  side.version = {size, mtime_s, 0};
  return side;
}
Side directory(uint32_t permissions = 0755, int64_t mtime_s = 1) {
  Side side;
  side.mode = S_IFDIR | permissions;
  side.version.mtime_s = mtime_s;
  return side;
}
Side symlink(std::string_view target) {
  Side side;
  side.mode = S_IFLNK | 0777;
  side.target = target;
  return side;
}
Side device(uint64_t rdev) {
  Side side;
  side.mode = S_IFCHR | 0600;
  side.rdev = rdev;
  return side;
}
Side edited(Side side) {
  side.other_object = true;
  return side;
}
Side later(Side side) {
  ++side.version.mtime_s;
  return side;
}
Side owned(Side side, uint32_t uid) {
  side.uid = uid;
  return side;
}

const Side kNone;

struct Row {
  Side base;
  Side local;
  Side remote;
  Verdict verdict;
  int line;
};
#define ROW(base, local, remote, verdict)           \
  Row {                                             \
    base, local, remote, Verdict::verdict, __LINE__ \
  }

TEST(ThreeWay, Table) {
  const std::vector<Row> rows = {
      // Nothing is there at the source, before and now.
      ROW(kNone, kNone, kNone, kNothing),
      ROW(kNone, file(1), kNone, kNothing),
      ROW(kNone, directory(), kNone, kNothing),
      // It appears there.
      ROW(kNone, kNone, file(1), kTakeRemote),
      ROW(kNone, kNone, directory(), kTakeRemote),
      ROW(kNone, file(1), file(1), kConverged),
      ROW(kNone, file(1, 1, 0600), owned(file(1), 7), kConverged),
      ROW(kNone, file(1), file(2), kConflict),
      ROW(kNone, file(1, 1), file(1, 2), kConflict),
      ROW(kNone, file(1), directory(), kConflict),
      ROW(kNone, directory(), file(1), kConflict),
      ROW(kNone, directory(0700, 5), directory(0755, 9), kConverged),
      ROW(kNone, symlink("a"), symlink("a"), kConverged),
      ROW(kNone, symlink("a"), symlink("b"), kConflict),
      ROW(kNone, device(1), device(1), kConverged),
      ROW(kNone, device(1), device(2), kConflict),
      ROW(kNone, symlink("a"), file(1), kConflict),
      // It is there as it was.
      ROW(file(1), file(1), file(1), kNothing),
      ROW(file(1), edited(file(2, 2)), file(1), kNothing),
      ROW(file(1), file(1, 1, 0600), file(1), kNothing),
      ROW(file(1), kNone, file(1), kNothing),
      ROW(file(1), edited(directory()), file(1), kNothing),
      ROW(directory(), kNone, directory(0755, 9), kNothing),
      ROW(symlink("a"), edited(symlink("b")), symlink("a"), kNothing),
      // It changed there only.
      ROW(file(1), file(1), file(2), kTakeRemote),
      ROW(file(1), file(1), file(1, 1, 0600), kTakeRemote),
      ROW(file(1), file(1), kNone, kTakeRemote),
      ROW(file(1), file(1), directory(), kTakeRemote),
      ROW(symlink("a"), symlink("a"), symlink("b"), kTakeRemote),
      ROW(device(1), device(1), device(2), kTakeRemote),
      ROW(directory(), directory(), directory(0700), kTakeRemote),
      ROW(directory(), directory(), kNone, kTakeRemote),
      ROW(directory(0755, 1), directory(0755, 5), directory(0700, 9), kTakeRemote),
      // It was removed on both sides, or on one.
      ROW(file(1), kNone, kNone, kConverged),
      ROW(directory(), kNone, kNone, kConverged),
      ROW(file(1), edited(file(2, 2)), kNone, kRecreate),
      ROW(file(1), file(1, 1, 0600), kNone, kRecreate),
      ROW(file(1), edited(file(1)), kNone, kRecreate),
      ROW(file(1), edited(directory()), kNone, kRecreate),
      ROW(directory(), edited(directory()), kNone, kRecreate),
      ROW(symlink("a"), edited(symlink("a")), kNone, kRecreate),
      ROW(file(1), kNone, file(2), kResurrect),
      ROW(file(1), kNone, file(1, 2), kResurrect),
      ROW(file(1), kNone, directory(), kResurrect),
      ROW(symlink("a"), kNone, symlink("b"), kResurrect),
      // Removed here before its target was kept: the time tells.
      ROW(symlink(""), kNone, symlink("t"), kNothing),
      ROW(symlink(""), kNone, later(symlink("t")), kResurrect),
      ROW(device(1), kNone, device(2), kResurrect),
      ROW(file(1), kNone, file(1, 1, 0600), kMerge),
      ROW(directory(), kNone, directory(0700), kMerge),
      // Attributes on one side, anything on the other.
      ROW(file(1), file(1, 1, 0600), file(2), kMerge),
      ROW(file(1), file(1, 1, 0600), owned(file(1), 7), kMerge),
      ROW(file(1), edited(file(2, 2)), file(1, 1, 0600), kMerge),
      ROW(file(1), file(1, 5), file(2, 2), kMerge),
      ROW(directory(), directory(0700), owned(directory(), 7), kMerge),
      ROW(symlink("a"), owned(symlink("a"), 7), symlink("b"), kMerge),
      ROW(device(1), owned(device(1), 7), device(2), kMerge),
      ROW(file(1), file(1, 1, 0600), directory(), kTakeRemote),
      ROW(file(1), file(1, 1, 0600), symlink("a"), kTakeRemote),
      ROW(directory(), directory(0700), file(1), kTakeRemote),
      ROW(file(1), edited(directory()), owned(file(1), 7), kMerge),
      // Both came to the same.
      ROW(file(1), edited(file(2, 2)), file(2, 2), kConverged),
      ROW(file(1), edited(file(2, 2, 0600)), file(2, 2), kConverged),
      ROW(file(1), file(1, 5), file(1, 5), kConverged),
      ROW(file(1), edited(directory()), directory(0700), kConverged),
      ROW(symlink("a"), edited(symlink("b")), symlink("b"), kConverged),
      ROW(file(1), edited(symlink("b")), symlink("b"), kConverged),
      // Both changed it to different things.
      ROW(file(1), edited(file(2, 2)), file(3, 3), kConflict),
      ROW(file(1), edited(file(2, 2)), file(2, 3), kConflict),
      ROW(file(1), edited(file(2, 2)), directory(), kConflict),
      ROW(file(1), edited(directory()), file(2), kConflict),
      ROW(file(1), edited(symlink("a")), symlink("b"), kConflict),
      ROW(symlink("a"), edited(symlink("a")), symlink("b"), kConflict),
      ROW(symlink("a"), edited(file(1)), symlink("b"), kConflict),
      ROW(directory(), edited(file(1)), symlink("b"), kConflict),
      ROW(device(1), edited(device(3)), device(2), kConflict),
  };
  for (const Row& row : rows) {
    EXPECT_EQ(judge(row.base, row.local, row.remote), row.verdict) << "line " << row.line;
  }
}

// Whatever the three are: the source as it was is no news, and what nobody changed here is theirs.
TEST(ThreeWay, LawsOfAllCombinations) {
  const std::vector<Side> sides = {kNone,       file(1),         file(2, 2),       file(1, 1, 0600),
                                   directory(), directory(0700), symlink("a"),     symlink("b"),
                                   device(1),   device(2),       owned(file(1), 7)};
  for (const Side& base : sides) {
    for (const Side& one : sides) {
      EXPECT_EQ(judge(base, one, base), Verdict::kNothing);
      const Verdict untouched = judge(base, base, one);
      EXPECT_TRUE(untouched == Verdict::kNothing || untouched == Verdict::kTakeRemote);
      for (const Side& other : sides) {
        const Verdict verdict = judge(base, edited(one), other);
        EXPECT_EQ(
            verdict == Verdict::kResurrect || verdict == Verdict::kTakeRemote,
            !one.exists() && other.exists() && verdict != Verdict::kNothing && verdict != Verdict::kMerge)
            << "only where nothing of ours is there is theirs simply taken";
        if (verdict == Verdict::kRecreate) {
          EXPECT_TRUE(base.exists() && one.exists() && !other.exists());
        }
        if (verdict == Verdict::kConflict) {
          EXPECT_TRUE(one.exists() && other.exists());
        }
      }
    }
  }
}

TEST(ThreeWay, EachAttributeIsOfWhoChangedIt) {
  Side base = file(1, 1, 0644);
  Side local = base;
  Side remote = base;
  local.mode = S_IFREG | 0600;
  remote.uid = 7;
  remote.version.mtime_s = 9;
  local.xattr_set = 3;
  MergedAttributes merged = merge_attributes(base, local, remote);
  EXPECT_EQ(merged.mode, S_IFREG | 0600U);
  EXPECT_EQ(merged.uid, 7U);
  EXPECT_EQ(merged.mtime_s, 9);
  EXPECT_EQ(merged.xattr_set, 3U);
  EXPECT_EQ(merged.overruled, 0U);
  // Both: ours.
  remote.mode = S_IFREG | 0640;
  local.gid = 5;
  local.version.mtime_s = 8;
  remote.xattr_set = 4;
  merged = merge_attributes(base, local, remote);
  EXPECT_EQ(merged.mode, S_IFREG | 0600U);
  EXPECT_EQ(merged.uid, 0U);
  EXPECT_EQ(merged.gid, 5U);
  EXPECT_EQ(merged.mtime_s, 8) << "a time is nothing to quarrel about";
  EXPECT_EQ(merged.xattr_set, 3U);
  EXPECT_EQ(merged.overruled, uint32_t{kModeDiffers | kOwnerDiffers | kXattrsDiffer});
  // Both to the same.
  merged = merge_attributes(base, local, local);
  EXPECT_EQ(merged.overruled, 0U);
}

}  // namespace
}  // namespace rsyncfs
