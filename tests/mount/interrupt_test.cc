// SPDX-License-Identifier: GPL-3.0-or-later
// A process that waits for a silent server can be interrupted and killed at any time, long before timeout=.
#include <csignal>
#include <cstdio>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

using support::ChildProcess;

class Interrupt : public ::testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  Interrupt() { support::make_many_files(tree.path(), 2, 5, 1000); }
  void SetUp() override { require_engine(std::get<0>(GetParam())); }
  ServedTree tree;
};

TEST_P(Interrupt, EndsAWaitingReader) {
  const auto& [io, signal] = GetParam();
  Mount mount(tree.mount_options({"io=" + io, "timeout=60"}));
  ASSERT_TRUE(wait_for_tree(mount));
  tree.server().pause();
  ChildProcess reader({"cat", mount / "d000/f0000"});
  EXPECT_FALSE(reader.wait_for(milliseconds(700))) << "it should be waiting: " << reader.err();
  reader.signal(signal);
  EXPECT_TRUE(reader.wait_for(seconds(20))) << "it ignores signal " << signal;
  EXPECT_EQ(reader.exit_code(), 128 + signal);
  tree.server().resume();
  EXPECT_TRUE(read_whole(mount / "d000/f0001").ok);
}

TEST_P(Interrupt, OfOneReaderLeavesTheOtherWaiting) {
  const auto& [io, signal] = GetParam();
  Mount mount(tree.mount_options({"io=" + io, "timeout=60"}));
  ASSERT_TRUE(wait_for_tree(mount));
  tree.server().pause();
  ChildProcess ended({"cat", mount / "d000/f0000"});
  ChildProcess stays({"cat", mount / "d000/f0000"});
  EXPECT_FALSE(ended.wait_for(milliseconds(700)));
  ended.signal(signal);
  EXPECT_TRUE(ended.wait_for(seconds(20)));
  EXPECT_TRUE(stays.running());
  tree.server().resume();
  ASSERT_TRUE(stays.wait_for(seconds(60)));
  EXPECT_EQ(stays.out(), support::read_file(tree / "d000/f0000")) << stays.err();
}

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt,
                         ::testing::Combine(::testing::Values("uring", "threads"),
                                            ::testing::Values(SIGINT, SIGKILL)));

// A daemon that hangs, or was stopped, holds nobody for ever: the kernel gives its mount up.
TEST(StoppedDaemon, IsGivenUpByTheKernel) {
  ServedTree tree;
  support::make_many_files(tree.path(), 2, 5, 1000);
  Mount mount(tree.mount_options({"request_timeout=15"}));
  const std::string fuse = mount.status_text("/fuse/description");
  unsigned minor = 0;
  ASSERT_EQ(std::sscanf(fuse.c_str(), "fuse 7.%u", &minor), 1) << fuse;
  if (minor < 43) GTEST_SKIP() << "this kernel has no FUSE_REQUEST_TIMEOUT: " << fuse;
  const auto daemon = static_cast<pid_t>(mount.status_number("/pid"));
  ASSERT_EQ(::kill(daemon, SIGSTOP), 0);
  ChildProcess reader({"cat", mount / "d001/f0000"});
  EXPECT_FALSE(reader.wait_for(seconds(10))) << reader.err();
  EXPECT_TRUE(reader.wait_for(seconds(80)));
  EXPECT_NE(reader.exit_code(), 0);
  EXPECT_THAT(reader.err(),
              ::testing::AnyOf(::testing::HasSubstr("abort"), ::testing::HasSubstr("not connected")));
  ::kill(daemon, SIGCONT);
}

TEST(Unmount, WithReadersWaitingForASilentServer) {
  ServedTree tree;
  support::make_many_files(tree.path(), 2, 5, 1000);
  Mount mount(tree.mount_options({"timeout=60"}));
  ASSERT_TRUE(wait_for_tree(mount));
  tree.server().pause();
  ChildProcess reader({"cat", mount / "d000/f0000"});
  EXPECT_FALSE(reader.wait_for(milliseconds(500)));
  EXPECT_EQ(mount.status_text("/mountpoint"), mount.path()) << "status answers while a reader waits";
  // In use, it is either refused with a word about it, or the readers are sent away; nobody hangs.
  const CommandResult busy = mount.command({"umount", mount.path()}, seconds(20));
  EXPECT_FALSE(busy.timed_out);
  if (busy.exit_code != 0) {
    EXPECT_THAT(busy.err, ::testing::HasSubstr("busy"));
  }
  reader.kill9();
  if (busy.exit_code != 0) mount.unmount();
  EXPECT_FALSE(mount.mounted());
}

}  // namespace
}  // namespace rsyncfs::mount_tests
