// SPDX-License-Identifier: GPL-3.0-or-later
// What processes are in and watch, as /proc tells it.
#include "fs/daemon/use_scanner.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <unordered_set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::unordered_set<ino_t> watched(std::string_view fdinfo, dev_t device) {
  std::unordered_set<ino_t> out;
  add_watched(fdinfo, device, out);
  return out;
}

TEST(UseScanner, FindsTheInodesOfTheDevice) {
  const std::string text =
      "pos:\t0\nflags:\t02004000\nmnt_id:\t15\nino:\t1057\n"
      "inotify wd:2 ino:1a7 sdev:2d mask:fff ignored_mask:0 fhandle-bytes:8 fhandle-type:81 f_handle:a7\n"
      "inotify wd:1 ino:2 sdev:800010 mask:fff ignored_mask:0\n";
  EXPECT_THAT(watched(text, makedev(0, 0x2d)), UnorderedElementsAre(0x1a7));
  EXPECT_THAT(watched(text, makedev(8, 16)), UnorderedElementsAre(2));
  EXPECT_THAT(watched(text, makedev(0, 1)), IsEmpty());
}

TEST(UseScanner, MakesNothingOfWhatItDoesNotUnderstand) {
  for (const char* text :
       {"", "\n\n", "inotify", "inotify wd:1", "inotify wd:1 ino: sdev:2d",
        "inotify wd:1 ino:xyz sdev:2d mask:0", "inotify wd:1 ino:ffffffffffffffffff sdev:2d", "ino:1 sdev:2d",
        "fanotify wd:1 ino:1 sdev:2d"}) {
    EXPECT_THAT(watched(text, makedev(0, 0x2d)), IsEmpty()) << text;
  }
}

TEST(UseScanner, FindsAProcessInADirectory) {
  const support::TempDir directory;
  support::make_dirs(directory / "a b");
  struct stat st {};
  ASSERT_EQ(::stat(directory.path().c_str(), &st), 0);
  support::ChildProcess inside({"sh", "-c", "cd '" + (directory / "a b") + "' && sleep 100"});
  FoundUses found;
  EXPECT_TRUE(support::wait_until(
      [&] {
        found = scan_uses(directory.path(), st.st_dev);
        return !found.working_directories.empty();
      },
      std::chrono::seconds(30)));
  EXPECT_THAT(found.working_directories, ElementsAre("a b"));
  // Beside it, with a name that begins the same.
  EXPECT_THAT(scan_uses(directory / "a", st.st_dev).working_directories, IsEmpty());
}

}  // namespace
}  // namespace rsyncfs
