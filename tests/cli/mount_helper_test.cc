// SPDX-License-Identifier: GPL-3.0-or-later
// mount.rsyncfs as mount(8) calls it.
#include <sys/stat.h>

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mount-helper/helper_options.h"
#include "tests/cli/program.h"
#include "tests/support/files.h"
#include "tests/support/mount_table.h"
#include "tests/support/port_lease.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using support::CommandResult;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

HelperCall parse(const std::vector<std::string>& words) {
  const Result<HelperCall> call = parse_helper_call(words);
  EXPECT_TRUE(call.ok()) << call.error().message();
  return call ? *call : HelperCall{};
}

TEST(HelperCall, TakesMountsWords) {
  const HelperCall call = parse({"rsync://h/m", "/mnt", "-sfn", "-v", "-N", "/proc/1/ns/mnt", "-o",
                                 "rw,_netdev,timeout=3", "-t", "rsyncfs"});
  EXPECT_EQ(call.source, "rsync://h/m");
  EXPECT_EQ(call.mountpoint, "/mnt");
  EXPECT_TRUE(call.sloppy && call.fake && call.verbose && !call.remount);
  EXPECT_EQ(call.mount_namespace, "/proc/1/ns/mnt");
  EXPECT_THAT(call.options, ElementsAre("timeout=3"));
  EXPECT_EQ(call.read_write, true);
  EXPECT_THAT(mount_arguments(call),
              ElementsAre("mount", "-v", "-o", "sloppy,timeout=3", "--", "rsync://h/m", "/mnt"));
}

TEST(HelperCall, DropsWhatIsForOthers) {
  const HelperCall call =
      parse({"s", "m", "-o",
             "auto,noauto,nofail,_netdev,user,users,owner,group,defaults,x-systemd.automount,"
             "x-systemd.requires=a,X-mount.mkdir=0755,comment=c,noatime,ro"});
  EXPECT_THAT(call.options, ElementsAre("noatime"));
  EXPECT_THAT(mount_arguments(call), ElementsAre("mount", "-o", "ro,noatime", "--", "s", "m"));
  EXPECT_THAT(mount_arguments(parse({"s", "m"})), ElementsAre("mount", "--", "s", "m"));
}

TEST(HelperCall, KeepsEscapedCommasAsTheyAre) {
  const HelperCall call = parse({"s", "m", "-o", R"(exclude=a\,b\\,nofail,ro)", "-oremount"});
  EXPECT_THAT(call.options, ElementsAre(R"(exclude=a\,b\\)"));
  EXPECT_TRUE(call.remount);
  EXPECT_EQ(call.read_write, false);
}

TEST(HelperCall, OptionsOfWritingGoThrough) {
  const HelperCall call =
      parse({"s", "m", "-o", "ro,rw,fsync=remote,conflict_rule=*.log:remote,max_delete=5"});
  EXPECT_EQ(call.read_write, true) << "the last one counts";
  EXPECT_THAT(
      mount_arguments(call),
      ElementsAre("mount", "-o", "fsync=remote,conflict_rule=*.log:remote,max_delete=5", "--", "s", "m"));
}

TEST(HelperCall, TheStatusTellsWhetherItCanBeWrittenTo) {
  EXPECT_TRUE(tells_writable(R"({"version":"1","writable":true,"pid":1})"));
  EXPECT_FALSE(tells_writable(R"({"version":"1","writable":false})"));
  EXPECT_FALSE(tells_writable(R"({"source":"\"writable\":true"})"));
  EXPECT_FALSE(tells_writable(""));
}

TEST(HelperCall, MistakesAreUsage) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"s"}, {"s", "m", "n"}, {"s", "m", "-x"}, {"s", "m", "-o"}}) {
    EXPECT_FALSE(parse_helper_call(words).ok());
  }
}

TEST(UnmountCall, TakesUmountsWords) {
  const auto call = parse_unmount_call({"-n", "/mnt", "-lv", "-N", "12", "-t", "fuse.rsyncfs"});
  ASSERT_TRUE(call.ok()) << call.error().message();
  EXPECT_EQ(call->mountpoint, "/mnt");
  EXPECT_EQ(call->mount_namespace, "12");
  EXPECT_TRUE(call->lazy && !call->force);
  EXPECT_THAT(unmount_arguments(*call), ElementsAre("umount", "--lazy", "--", "/mnt"));
  EXPECT_THAT(unmount_arguments(*parse_unmount_call({"-f", "m"})),
              ElementsAre("umount", "--lazy", "--", "m"));
  EXPECT_THAT(unmount_arguments(*parse_unmount_call({"-nrv", "m"})), ElementsAre("umount", "--", "m"));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"m", "n"}, {"m", "-x"}, {"m", "-N"}}) {
    EXPECT_FALSE(parse_unmount_call(words).ok());
  }
}

TEST(HelperExitCode, IsThatOfMount) {
  EXPECT_EQ(helper_exit_code(0), 0);
  EXPECT_EQ(helper_exit_code(1), 32);
  EXPECT_EQ(helper_exit_code(2), 1);
  EXPECT_EQ(helper_exit_code(137), 2);
}

// As systemd does it: next to nothing in the environment.
CommandResult helper(const std::vector<std::string>& words, const std::string& state) {
  std::vector<std::string> argv = {"env", "-i", "RSYNCFS_STATE_DIR=" + state,
                                   "RSYNCFS_RUNTIME_DIR=" + state + "/run", cli_tests::helper_program()};
  argv.insert(argv.end(), words.begin(), words.end());
  return support::run_command(argv, std::chrono::seconds(60));
}

TEST(MountHelper, FailuresHaveTheBitsOfMount) {
  const support::TempDir dir;
  const support::PortLease lease;
  const std::string nobody = "rsync://127.0.0.1:" + std::to_string(lease.port()) + "/m";
  const std::string mnt = dir.make_dir("mnt");
  const CommandResult refused = helper({nobody, mnt, "-o", "rw,_netdev"}, dir.path());
  EXPECT_EQ(refused.exit_code, 32);
  EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("refused"));
  const CommandResult unknown = helper({nobody, mnt, "-o", "quux"}, dir.path());
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("quux"));
  EXPECT_EQ(helper({nobody, mnt, "-s", "-o", "quux"}, dir.path()).exit_code, 32)
      << "-s is no mistake any more";
  EXPECT_EQ(helper({nobody, mnt, "-f", "-o", "ro"}, dir.path()).exit_code, 0) << "fake: nothing is tried";
  EXPECT_EQ(helper({nobody}, dir.path()).exit_code, 1);
  EXPECT_EQ(helper({nobody, mnt, "-N", "/no/such/namespace"}, dir.path()).exit_code, 2);
  EXPECT_TRUE(support::mounts_below(dir.path()).empty());
}

TEST(MountHelper, MountsAndIsUnmountedByTheSystem) {
  const support::TempDir tree;
  support::write_file(tree / "file", "served");
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  const support::TempDir dir;
  const std::string mnt = dir.make_dir("mnt");
  const CommandResult run =
      helper({server.url(), mnt, "-n", "-o", "ro,nofail,_netdev,x-systemd.automount,noexec"}, dir.path());
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(support::read_file(mnt + "/file"), "served");
  const std::string table = support::run_shell("grep -F ' " + mnt + " ' /proc/self/mountinfo");
  EXPECT_THAT(table, HasSubstr("fuse.rsyncfs " + server.url() + " "))
      << "mount -a must recognise its own line";
  EXPECT_THAT(table, HasSubstr("ro,nosuid,nodev,noexec"));
  EXPECT_EQ(helper({server.url(), mnt, "-o", "remount,ro"}, dir.path()).err, "");
  const CommandResult writable = helper({server.url(), mnt, "-o", "rw,noexec,remount"}, dir.path());
  EXPECT_EQ(writable.exit_code, 0);
  EXPECT_EQ(
      writable.err,
      "mount.rsyncfs: a mount that was made read-only stays so; unmount it and mount it anew to write\n");
  EXPECT_EQ(helper({server.url(), mnt}, dir.path()).exit_code, 32) << "already mounted";
  EXPECT_EQ(support::run_command({"umount", mnt}, std::chrono::seconds(20)).exit_code, 0);
}

}  // namespace
}  // namespace rsyncfs
