// SPDX-License-Identifier: GPL-3.0-or-later
// What `rsyncfs info` says of files that are stale, not sent, slow or refused, with each provoked.
#include <sys/stat.h>

#include "tests/mount/mount_rig.h"
#include "tests/mount/writable_mount.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

std::string info(const Mount& mount, const std::string& path) {
  const CommandResult run = mount.command({"info", path});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.out;
}

TEST(Info, ExplainsWhatIsSlowAndWhatIsStale) {
  ServedTree tree;
  support::write_file(tree / "file", std::string(5'000, 'x'));
  Mount mount(tree.mount_options({"poll=off", "ro", "timeout=2", "contimeout=1"}));
  ASSERT_TRUE(wait_for_tree(mount));
  const std::string remote = info(mount, mount / "file");
  EXPECT_THAT(remote, ContainsRegex("why +slow at first: 4.9 KiB of it must come from the source"));
  EXPECT_THAT(remote, HasSubstr("it may be stale: polling is off"));
  EXPECT_THAT(remote, HasSubstr("changes of it are refused: the mount is read-only"));
  tree.server().stop();
  ASSERT_FALSE(read_whole(mount / "file").ok);
  const std::string down = info(mount, mount / "file");
  EXPECT_THAT(down, HasSubstr("the source cannot be reached, and not all of it is here"));
  EXPECT_THAT(down, HasSubstr("it may be stale: the source cannot be reached; the tree was last listed at "));
}

TEST(Info, ExplainsWhatTheSourceRefuses) {
  ServedTree tree([] {
    DaemonOptions options = RsyncDaemon::serving("");
    options.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}, {"use chroot", "no"}};
    return options;
  }());
  ASSERT_EQ(chmod(tree.path().c_str(), 0755), 0);
  support::write_file(tree / "closed", "x");
  ASSERT_EQ(chmod((tree / "closed").c_str(), 0600), 0);
  Mount mount(tree.mount_options({"ro"}));
  ASSERT_TRUE(wait_for_tree(mount));
  ASSERT_FALSE(read_whole(mount / "closed").ok);
  EXPECT_THAT(info(mount, mount / "closed"),
              ContainsRegex("why +the source refused it: .*Permission denied"));
}

TEST(Info, ExplainsWhatIsNotSent) {
  WritableMount work({"writeback_delay=600"});
  ASSERT_EQ(work.mount_again(), "");
  support::write_file(work / "new", "x");
  EXPECT_THAT(info(work.mount(), work / "new"), HasSubstr("not sent yet: it was changed just now"));
  work.tree().server().stop();
  ASSERT_TRUE(wait_until(
      [&] {
        return info(work.mount(), work / "new")
                   .find("not sent: the source cannot be reached; it is sent when it is back") !=
               std::string::npos;
      },
      seconds(30)));
  work.tree().server().start();
}

TEST(Info, ExplainsAReadOnlySource) {
  ServedTree tree;
  support::write_file(tree / "file", "x");
  Mount mount(tree.mount_options({"rw"}));
  support::write_file(mount / "new", "x");
  ASSERT_TRUE(wait_until(
      [&] {
        return info(mount, mount / "new").find("not sent: the source takes no changes: ") !=
               std::string::npos;
      },
      seconds(30)))
      << info(mount, mount / "new");
  EXPECT_THAT(mount.command({"info", "--json", mount / "new"}).out,
              HasSubstr("\"reasons\":[\"not sent: the source takes no changes"));
}

TEST(Info, HasNothingToSayOfWhatIsInOrder) {
  WritableMount work;
  ASSERT_EQ(work.mount_again(), "");
  support::write_file(work / "file", "x");
  ASSERT_EQ(work.flush(), "");
  EXPECT_THAT(info(work.mount(), work / "file"), Not(HasSubstr("why ")));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
