// SPDX-License-Identifier: GPL-3.0-or-later
// The tools that judge the product are judged here: by real rsyncs and by differences made on purpose.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/old_rsync.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/ssh_server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/torture_tree.h"
#include "tests/support/tree_compare.h"
#include "tests/support/wait.h"

namespace rsyncfs::support {
namespace {

using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

CommandResult rsync(const std::vector<std::string>& arguments, const std::string& program = "rsync") {
  // Without the window a directory made within the same second keeps its own nanoseconds.
  std::vector<std::string> argv = {program, "--modify-window=-1"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run_command(argv, seconds(120));
}

TEST(ChildProcess, ReportsOutputStatusAndSignals) {
  ProcessOptions options;
  options.input = "fed";
  options.environment = {{"WORD", "given"}};
  const CommandResult done =
      run_command({"bash", "-c", "cat; echo $WORD; echo bad >&2; exit 3"}, seconds(10), options);
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_EQ(done.out, "fedgiven\n");
  EXPECT_EQ(done.err, "bad\n");
  EXPECT_EQ(run_command({"bash", "-c", "kill -TERM $$"}, seconds(10)).exit_code, 128 + SIGTERM);
  EXPECT_THROW(run_command({"/no/such/program"}, seconds(1)), std::runtime_error);
}

TEST(ChildProcess, IsKilledAtTheLimitWithItsChildren) {
  ChildProcess child({"bash", "-c", "sleep 1000 & echo $!; wait"});
  ASSERT_TRUE(wait_until([&] { return !child.out().empty(); }, seconds(10)));
  const auto grandchild = static_cast<pid_t>(std::stol(child.out()));
  EXPECT_FALSE(child.wait_for(std::chrono::milliseconds(50)));
  child.kill9();
  EXPECT_EQ(child.exit_code(), 128 + SIGKILL);
  EXPECT_TRUE(wait_until(
      [&] {
        return kill(grandchild, 0) != 0 ||
               run_command({"grep", "-q", "^State:.*Z", "/proc/" + std::to_string(grandchild) + "/status"},
                           seconds(5))
                       .exit_code == 0;
      },
      seconds(10)));
}

TEST(TempDir, RemovesWhatIsHardToRemove) {
  std::string path;
  {
    TempDir dir;
    path = dir.path();
    make_torture_tree(dir / "t", {.odd_names = 300, .seed = 7});
    chmod((dir / "t/modes").c_str(), 0);
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(TreeCompare, FindsEachKindOfDifference) {
  TempDir dir;
  const std::string one = dir / "one";
  const std::string two = dir / "two";
  make_torture_tree(one, {.odd_names = 50, .seed = 3, .large_files = false});
  ASSERT_EQ(rsync({"-aHAX", one + "/", two}).exit_code, 0);
  ASSERT_THAT(compare_trees(one, two), IsEmpty());

  const auto one_difference = [&](const std::string& shell, const std::string& part) {
    run_shell("cd '" + two + "' && " + shell);
    EXPECT_THAT(compare_trees(one, two), ElementsAre(HasSubstr(part))) << shell;
    rsync({"-aHAXI", "--delete", one + "/", two});
    EXPECT_THAT(compare_trees(one, two), IsEmpty()) << "after " << shell;
  };
  one_difference("touch links/a/x && touch -r ../one/links/a links/a", "links/a/x: is extra");
  one_difference("rm modes/m2541 && touch -r ../one/modes modes", "modes/m2541: is missing");
  one_difference("chmod 4711 names/#", "names/#: mode is \"104711\"");
  one_difference("printf X | dd of=names/# conv=notrunc status=none; touch -r ../one/names/# names/#",
                 "names/#: contents differ from byte 0");
  one_difference("touch -d @5.25 names/#", "names/#: mtime is \"5.250000000\"");
  one_difference(
      "ln -sfn pool links/loop && touch -h -r ../one/links/loop links/loop && touch -r ../one/links links",
      "links/loop: target is \"pool\"");
  one_difference("setfattr -n user.value -v y xattrs/x33", "xattr user.value (1 bytes)");
  one_difference("setfattr -x user.value xattrs/x1", "xattr user.value is missing");
  one_difference("setfattr -n user.more -v y xattrs/x1", "xattr user.more is extra");
  one_difference("setfacl -n -m u:7:r acls/named", "xattr system.posix_acl_access");
  one_difference("chown 12 names/#", "owner is 12");
  one_difference("chgrp 12 names/#", "group is 12");
}

TEST(TreeCompare, SeesLinkCountsAndLengths) {
  TempDir dir;
  make_dirs(dir / "one");
  make_dirs(dir / "two");
  write_file(dir / "one/f", std::string(1 << 20, 'a'));
  write_file(dir / "two/f", std::string(1 << 20, 'a') + "b");
  for (const char* path : {"one/f", "two/f", "one", "two"}) set_mtime(dir / path, 5, 0);
  EXPECT_THAT(compare_trees(dir / "one", dir / "two"),
              ElementsAre(HasSubstr("size is 1048577"), HasSubstr("contents differ from byte 1048576")));
  write_file(dir / "two/f", std::string(1 << 20, 'a'));
  set_mtime(dir / "two/f", 5, 0);
  ASSERT_EQ(link((dir / "two/f").c_str(), (dir / "extra").c_str()), 0);
  EXPECT_THAT(compare_trees(dir / "one", dir / "two"),
              ElementsAre(HasSubstr("link count is 2, should be 1")));
}

class Peers : public ::testing::TestWithParam<std::string> {
 protected:
  static std::string program() { return GetParam() == "old" ? require_old_rsync() : "rsync"; }
};

TEST_P(Peers, ServeATortureTreeThatACopyReproduces) {
  TempDir dir;
  make_torture_tree(dir / "src", {.odd_names = 2000, .seed = 11, .large_files = false});
  DaemonOptions options = RsyncDaemon::serving(dir / "src");
  options.rsync = program();
  RsyncDaemon daemon(options);
  const CommandResult run = rsync({"-aHAX", daemon.url() + "/", dir / "copy"}, program());
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(join_lines(compare_trees(dir / "src", dir / "copy")), "");
  EXPECT_THAT(daemon.transfers(), Contains("names/#"));
}
INSTANTIATE_TEST_SUITE_P(Both, Peers, ::testing::Values("current", "old"));

TEST(OldRsync, IsAnOlderVersion) {
  EXPECT_THAT(run_command({require_old_rsync(), "--version"}, seconds(5)).out, HasSubstr("version 3.2."));
}

TEST(RsyncDaemon, AsksForPasswordsAndCountsTransfers) {
  TempDir dir;
  make_many_files(dir / "src", 2, 3, 10);
  DaemonOptions options = RsyncDaemon::serving(dir / "src");
  options.modules[0].users = {{"alice", "secret"}};
  RsyncDaemon daemon(options);
  ProcessOptions environment;
  environment.environment = {{"RSYNC_PASSWORD", "wrong"}};
  const std::vector<std::string> argv = {"rsync", "-a", daemon.url("m", "", "alice") + "/", dir / "copy"};
  EXPECT_EQ(run_command(argv, seconds(20), environment).exit_code, 5);
  EXPECT_THAT(daemon.transfers(), IsEmpty());
  environment.environment = {{"RSYNC_PASSWORD", "secret"}};
  EXPECT_EQ(run_command(argv, seconds(20), environment).exit_code, 0);
  EXPECT_EQ(daemon.transfers().size(), 6U);
  EXPECT_GE(daemon.connections(), 2);
}

TEST(RsyncDaemon, CanBeStoppedKilledAndStartedAgain) {
  TempDir dir;
  write_file(dir / "f", "x");
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  const auto list = [&](int limit) {
    return rsync({"--contimeout=2", "--timeout=" + std::to_string(limit), daemon.url() + "/"});
  };
  EXPECT_EQ(list(5).exit_code, 0);
  daemon.pause();
  EXPECT_NE(list(1).exit_code, 0);
  daemon.resume();
  EXPECT_EQ(list(5).exit_code, 0);
  daemon.kill9();
  EXPECT_EQ(list(1).exit_code, 10);
  daemon.start();
  EXPECT_EQ(list(5).exit_code, 0);
  daemon.stop();
  EXPECT_EQ(list(1).exit_code, 10);
}

TEST(SshServer, RunsRsync) {
  TempDir dir;
  make_many_files(dir / "src", 1, 3, 10);
  SshServer server;
  const CommandResult run = rsync({"-a", "-e", server.rsh(), server.source(dir / "src/"), dir / "copy"});
  EXPECT_EQ(run.exit_code, 0) << run.err << server.log();
  EXPECT_THAT(compare_trees(dir / "src", dir / "copy"), IsEmpty());
  server.kill9();
  EXPECT_NE(rsync({"-a", "-e", server.rsh(), server.source(dir / "src/"), dir / "copy"}).exit_code, 0);
}

}  // namespace
}  // namespace rsyncfs::support
