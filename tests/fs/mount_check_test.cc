// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/front.h"
#include "fs/fuse/mount_check.h"

#include <gtest/gtest.h>

#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

TEST(MountCheck, NamesTheCause) {
  const support::TempDir dir;
  support::write_file(dir / "file", "");
  EXPECT_EQ(check_mountpoint(dir / "none").error().message(),
            "mountpoint " + (dir / "none") + ": No such file or directory");
  EXPECT_EQ(check_mountpoint(dir / "file").error().message(),
            "mountpoint " + (dir / "file") + ": Not a directory");
  EXPECT_EQ(*check_mountpoint(dir.path() + "/./"), dir.path());
}

TEST(MountCheck, ReadsFuseConf) {
  const support::TempDir dir;
  EXPECT_FALSE(allows_others(dir / "none"));
  support::write_file(dir / "a", "# user_allow_other\nmount_max = 1000\n");
  EXPECT_FALSE(allows_others(dir / "a"));
  support::write_file(dir / "b", "mount_max = 1000\n  user_allow_other # yes\n");
  EXPECT_TRUE(allows_others(dir / "b"));
}

}  // namespace
}  // namespace rsyncfs
