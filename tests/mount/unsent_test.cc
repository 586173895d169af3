// SPDX-License-Identifier: GPL-3.0-or-later
// Changes that cannot be sent, because the source is away: who is told of them, and that nothing waits for
// ever or gets lost.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "tests/mount/mount_rig.h"
#include "tests/support/mount_table.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// A read-write mount whose source goes away before anything is changed.
class Unsent : public ::testing::Test {
 protected:
  Unsent() {
    support::write_file(tree / "kept", "old");
    support::write_file(tree / "gone", "old");
    support::make_dirs(tree / "dir");
    support::write_file(tree / "dir/inner", "old");
    MountOptions options = tree.mount_options({"rw", "timeout=3", "contimeout=1", "writeback_delay=100ms"});
    mount = std::make_unique<Mount>(options);
  }
  void SetUp() override {
    ASSERT_TRUE(wait_for_tree(*mount));
    ASSERT_EQ(read_whole(*mount / "kept").bytes, "old");
    tree.server().stop();
    support::write_file(*mount / "new\nname", "new contents");
    support::write_file(*mount / "kept", "changed");
    ASSERT_EQ(unlink((*mount / "gone").c_str()), 0);
    ASSERT_EQ(chmod((*mount / "dir/inner").c_str(), 0600), 0);
  }
  // The source does not come back: nothing is to be waited for.
  void TearDown() override {
    if (mount->mounted()) mount->command({"umount", mount->path(), "--timeout=0"});
  }
  void expect_changes() {
    EXPECT_EQ(read_whole(*mount / "new\nname").bytes, "new contents");
    EXPECT_EQ(read_whole(*mount / "kept").bytes, "changed");
    EXPECT_NE(access((*mount / "gone").c_str(), F_OK), 0);
    EXPECT_GE(mount->status_number("/push/pending_names"), 2);
    EXPECT_GE(mount->status_number("/push/pending_nodes"), 3);
  }
  void expect_left(const CommandResult& run) {
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, ContainsRegex("[0-9]+ changes \\([0-9.]+ .*\\) are not on the source: "));
    EXPECT_THAT(run.err, HasSubstr("  new\\012name: new\n"));
    EXPECT_THAT(run.err, ContainsRegex("  kept: contents.*\n"));
    EXPECT_THAT(run.err, HasSubstr("  gone: removed"));
    EXPECT_THAT(run.err, HasSubstr("  dir/inner: mode"));
  }

  ServedTree tree;
  std::unique_ptr<Mount> mount;
};

TEST_F(Unsent, StatusAndInfoTellThem) {
  EXPECT_EQ(mount->status_text("/writable"), "true");
  EXPECT_EQ(mount->status_text("/phase"), "mounted");
  EXPECT_GT(mount->status_number("/push/oldest_at"), 0);
  EXPECT_GT(mount->status_number("/push/pending_bytes"), 0);
  const CommandResult status = mount->command({"status", mount->path()});
  EXPECT_THAT(status.out, ContainsRegex("changes +[0-9]+ changes .* not on the source yet, the oldest for"));
  const CommandResult changed = mount->command({"info", *mount / "kept"});
  EXPECT_THAT(changed.out, ContainsRegex("state +dirty"));
  EXPECT_THAT(changed.out, ContainsRegex("unsent +contents"));
  EXPECT_THAT(changed.out, HasSubstr(tree.server().url() + "/kept"));
  const CommandResult fresh = mount->command({"info", *mount / "new\nname"});
  EXPECT_THAT(fresh.out, ContainsRegex("source +does not have it yet"));
  EXPECT_THAT(fresh.out, ContainsRegex("unsent +new"));
  EXPECT_EQ(mount->command({"conflicts", mount->path()}).out, "no conflicts\n");
  EXPECT_EQ(mount->command({"conflicts", mount->path(), "--json"}).out, "{\"conflicts\":[],\"more\":0}\n");
  EXPECT_EQ(mount->command({"resume", mount->path()}).out, "nothing was stopped\n");
}

TEST_F(Unsent, FlushSaysWhatIsLeftAndNeverThatAllIsWell) {
  expect_left(mount->command({"flush", mount->path(), "--timeout=1"}, seconds(20)));
  const CommandResult part = mount->command({"flush", *mount / "dir", "--timeout=1"}, seconds(20));
  EXPECT_EQ(part.exit_code, 1);
  EXPECT_THAT(part.err, HasSubstr("1 change is not on the source: "));
  EXPECT_THAT(part.err, HasSubstr("  dir/inner: mode"));
  EXPECT_THAT(part.err, Not(HasSubstr("kept")));
  const CommandResult none = mount->command({"flush", *mount / "none"}, seconds(20));
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("none: no such name"));
}

TEST_F(Unsent, UmountListsThemAndTheNextMountHasThem) {
  const CommandResult run = mount->command({"umount", mount->path(), "--timeout=1"}, seconds(20));
  expect_left(run);
  EXPECT_THAT(run.err, HasSubstr("rsyncfs: unmounted, but "));
  EXPECT_THAT(run.err, HasSubstr("; the next mount sends the rest\n"));
  EXPECT_FALSE(mount->mounted());
  mount->remount();
  expect_changes();
  EXPECT_EQ(mount->command({"umount", mount->path(), "--timeout=0"}, seconds(20)).exit_code, 1);
}

TEST_F(Unsent, AReadOnlyMountKeepsThemAndShowsThem) {
  EXPECT_EQ(mount->command({"umount", mount->path(), "--timeout=0"}, seconds(20)).exit_code, 1);
  mount->options().options[0] = "ro";
  mount->remount();
  expect_changes();
  EXPECT_EQ(mount->status_text("/writable"), "false");
  EXPECT_THAT(mount->command({"status", mount->path()}).out,
              HasSubstr("this mount is read-only and keeps them"));
  mount->unmount();
}

TEST_F(Unsent, AfterTheSystemsUmountANewMountTakesThemOver) {
  const pid_t pid = mount->daemon_pid();
  ASSERT_EQ(support::run_command({"umount", mount->path()}, seconds(20)).exit_code, 0);
  mount->remount();
  expect_changes();
  EXPECT_TRUE(wait_until([&] { return !support::alive(pid); }, seconds(10)));
}

TEST_F(Unsent, ASignalEndsTheDaemonSoon) {
  const pid_t pid = mount->daemon_pid();
  kill(pid, SIGTERM);
  EXPECT_TRUE(wait_until([&] { return !support::alive(pid); }, seconds(15)));
  EXPECT_FALSE(mount->mounted());
  EXPECT_THAT(mount->log(), HasSubstr("; the next mount sends the rest"));
  mount->remount();
  expect_changes();
}

TEST_F(Unsent, ALazyUmountSaysThatTheyAreStillToBeSent) {
  const CommandResult run = mount->command({"umount", mount->path(), "--lazy"}, seconds(20));
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.err, HasSubstr("not on the source yet, the daemon goes on sending"));
  mount->remount();
  expect_changes();
}

TEST_F(Unsent, WatchRepeatsUntilTheMountIsGone) {
  support::ChildProcess watcher(
      {support::rsyncfs_binary(), "status", mount->path(), "--json", "--interval=0.1"},
      mount->process_options());
  const auto lines = [&] {
    const std::string out = watcher.out();
    return std::count(out.begin(), out.end(), '\n');
  };
  ASSERT_TRUE(wait_until([&] { return lines() >= 3; }, seconds(20)));
  EXPECT_EQ(watcher.out().find("\033["), std::string::npos) << "it is no terminal";
  EXPECT_EQ(mount->command({"umount", mount->path(), "--timeout=0"}, seconds(20)).exit_code, 1);
  ASSERT_TRUE(watcher.wait_for(seconds(20)));
  EXPECT_EQ(watcher.exit_code(), 1);
}

TEST_F(Unsent, WatchDrawsOverOnATerminal) {
  const std::string line =
      "timeout 1 '" + support::rsyncfs_binary() + "' status --watch --interval=0.1 '" + mount->path() + "'";
  const CommandResult run =
      support::run_command({"script", "-qec", line, "/dev/null"}, seconds(20), mount->process_options());
  EXPECT_THAT(run.out, ::testing::StartsWith("\033[2J\033[H"));
  EXPECT_THAT(run.out, ContainsRegex("to be sent.*\033\\[K"));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
