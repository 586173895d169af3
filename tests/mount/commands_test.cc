// SPDX-License-Identifier: GPL-3.0-or-later
// The commands as users type them.
#include <csignal>

#include "tests/mount/mount_rig.h"
#include "tests/support/mount_table.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

CommandResult rsyncfs(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), support::rsyncfs_binary());
  return support::run_command(arguments, seconds(20));
}

TEST(Help, NamesTheVerbsAndTheOptions) {
  const CommandResult run = rsyncfs({"--help"});
  EXPECT_EQ(run.exit_code, 0);
  for (const char* word : {"umount", "status", "info", "fetch", "password_file", "timeout", "io"}) {
    EXPECT_THAT(run.out, HasSubstr(word));
  }
  EXPECT_EQ(rsyncfs({"fetch", "--help"}).exit_code, 0);
}

TEST(Version, IsOneLine) {
  const CommandResult run = rsyncfs({"--version"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, ContainsRegex("^rsyncfs [0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST(Usage, ErrorsEndWithTwo) {
  EXPECT_EQ(rsyncfs({}).exit_code, 2);
  EXPECT_EQ(rsyncfs({"rsync://127.0.0.1/m"}).exit_code, 2);
  EXPECT_EQ(rsyncfs({"umount"}).exit_code, 2);
  EXPECT_EQ(rsyncfs({"info"}).exit_code, 2);
  EXPECT_EQ(rsyncfs({"--no-such-flag"}).exit_code, 2);
}

class Commands : public ::testing::Test {
 protected:
  Commands() {
    support::make_many_files(tree.path(), 3, 10, 50000);
    support::write_file(tree / "odd\n\xff name", "odd");
  }
  ServedTree tree;
};

TEST_F(Commands, MountHasAVerbAndPositionalForm) {
  Mount mount(tree.mount_options(), false);
  const CommandResult run = mount.command({"mount", tree.server().url(), mount.path(), "-o", "ro"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out + run.err, "");
  EXPECT_TRUE(mount.mounted());
  EXPECT_EQ(mount.command({"umount", mount.path()}).exit_code, 0);
  EXPECT_FALSE(mount.mounted());
}

TEST_F(Commands, StatusAndInfoTellWhatIsHere) {
  Mount mount(tree.mount_options());
  const std::string file = mount / "d000/f0003";
  EXPECT_THAT(mount.command({"info", file}).out, ContainsRegex("state +remote\n"));
  ASSERT_TRUE(read_whole(file).ok);
  // Storing what was read takes a moment.
  wait_until([&] { return state_of(file) == "cached"; }, seconds(20));
  EXPECT_THAT(mount.command({"info", file}).out, ContainsRegex("state +cached\n"));
  EXPECT_EQ(mount.command({"info", mount / "none"}).exit_code, 1);
  EXPECT_EQ(mount.command({"info", "/tmp"}).exit_code, 1) << "not in a mount of ours";

  const CommandResult text = mount.command({"status", mount.path()});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr(tree.server().url()));
  EXPECT_THAT(text.out, HasSubstr(mount.path()));
  const CommandResult all = mount.command({"status"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(all.out, HasSubstr(mount.path()));
  EXPECT_EQ(mount.status_text("/link/state"), "up");
  EXPECT_EQ(mount.status_text("/source"), tree.server().url());
  EXPECT_EQ(mount.status_number("/totals/files_fetched") >= 1, true);
  EXPECT_THAT(mount.status_text("/io/reason"), ::testing::Not(""));
}

TEST_F(Commands, FetchBringsTreesAndFiles) {
  Mount mount(tree.mount_options());
  const CommandResult run = mount.command({"fetch", mount / "d001", mount / "odd\n\xff name"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(state_of(mount / ("d001/f000" + std::to_string(i))), "cached");
  EXPECT_EQ(state_of(mount / "odd\n\xff name"), "cached");
  EXPECT_EQ(state_of(mount / "d002/f0000"), "remote");
  tree.server().stop();
  EXPECT_EQ(read_whole(mount / "d001/f0005").bytes, support::read_file(tree / "d001/f0005"));
}

TEST_F(Commands, FetchShowsItsProgressOnATerminal) {
  support::make_sparse_file(tree / "takes-a-while", 2ULL << 30, "x", 0);
  Mount mount(tree.mount_options());
  // script(1) gives the command a terminal.
  const std::string line = "'" + support::rsyncfs_binary() + "' fetch '" + mount.path() + "'";
  const CommandResult run =
      support::run_command({"script", "-qec", line, "/dev/null"}, seconds(60), mount.process_options());
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_THAT(run.out, ContainsRegex("[0-9]+ ?%"));
  EXPECT_THAT(run.out, ContainsRegex("\r.*\r"));
}

TEST_F(Commands, FetchSaysWhatCannotBeHad) {
  Mount mount(tree.mount_options({"timeout=3", "contimeout=2"}));
  ASSERT_TRUE(wait_for_tree(mount));
  EXPECT_EQ(mount.command({"fetch", mount / "none"}).exit_code, 1);
  tree.server().stop();
  const CommandResult run = mount.command({"fetch", mount / "d002/f0001"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("f0001"));
}

TEST_F(Commands, UmountOfWhatIsNotMountedIsRefused) {
  Mount mount(tree.mount_options(), false);
  const CommandResult run = mount.command({"umount", mount.path()});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr(mount.path()));
}

TEST_F(Commands, UmountOfABusyMountSaysSoAndHurtsNothing) {
  Mount mount(tree.mount_options());
  {
    support::ProcessOptions inside;
    inside.working_directory = mount / "d000";
    support::ChildProcess resident({"sleep", "1000"}, inside);
    const CommandResult run = mount.command({"umount", mount.path()});
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, HasSubstr("busy"));
    EXPECT_TRUE(read_whole(mount / "d000/f0001").ok);
  }
  mount.unmount();
}

TEST_F(Commands, TheSystemsUmountEndsTheDaemonToo) {
  Mount mount(tree.mount_options());
  const pid_t pid = mount.daemon_pid();
  EXPECT_EQ(support::run_command({"umount", mount.path()}, seconds(20)).exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return !support::alive(pid); }, seconds(10)));
}

TEST_F(Commands, ForegroundEndsBySignalAndUnmounts) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Mount mount(tree.mount_options(), false);
    support::ChildProcess daemon({support::rsyncfs_binary(), tree.server().url(), mount.path(), "-f"},
                                 mount.process_options());
    ASSERT_TRUE(wait_until([&] { return mount.mounted(); }, seconds(20))) << daemon.err();
    EXPECT_TRUE(read_whole(mount / "d000/f0001").ok);
    daemon.signal(signal);
    ASSERT_TRUE(daemon.wait_for(seconds(10)));
    EXPECT_EQ(daemon.exit_code(), 0) << daemon.err();
    EXPECT_FALSE(mount.mounted());
  }
}

TEST_F(Commands, AMountLeftByADeadDaemonIsReplaced) {
  Mount mount(tree.mount_options());
  for (const bool at_once : {false, true, true, true, true}) {
    const pid_t pid = mount.daemon_pid();
    kill(pid, SIGKILL);
    ASSERT_TRUE(at_once || wait_until([&] { return !support::alive(pid); }, seconds(10)));
    ASSERT_TRUE(mount.mounted());
    mount.remount();
    EXPECT_TRUE(read_whole(mount / "d000/f0001").ok);
    EXPECT_EQ(support::mounts_below(mount.path()).size(), 1U);
  }
}

TEST_F(Commands, TwoMountsOfOneSourceStandSideBySide) {
  Mount one(tree.mount_options());
  Mount two(tree.mount_options());
  EXPECT_EQ(read_whole(one / "d000/f0001").bytes, read_whole(two / "d000/f0001").bytes);
  one.unmount();
  EXPECT_TRUE(read_whole(two / "d000/f0002").ok);
}

}  // namespace
}  // namespace rsyncfs::mount_tests
