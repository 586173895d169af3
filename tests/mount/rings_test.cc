// SPDX-License-Identifier: GPL-3.0-or-later
// fuse_uring=yes, where kernel and build can do it and where they cannot.
#include <csignal>
#include <string>

#include "tests/mount/writable_mount.h"

namespace rsyncfs::mount_tests {
namespace {

using support::ChildProcess;

bool in_use(const Mount& mount) {
  return mount.status_text("/fuse/description").ends_with(", io_uring");
}

size_t count(const std::string& text, const std::string& what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(Rings, AreInUseOrSaidOnceToBeMissing) {
  ServedTree tree;
  support::make_many_files(tree.path(), 2, 5, 1000);
  Mount mount(tree.mount_options({"fuse_uring=yes"}));
  EXPECT_EQ(read_whole(mount / "d001/f0003").bytes, support::read_file(tree / "d001/f0003"));
  EXPECT_EQ(count(mount.log(), "no FUSE over io_uring"), in_use(mount) ? 0U : 1U) << mount.log();
}

TEST(Rings, AreNotUsedUnlessAskedFor) {
  ServedTree tree;
  MountOptions options = tree.mount_options({"fuse_uring=no"});
  options.environment.push_back({"FUSE_URING_ENABLE", "1"});
  Mount mount(options);
  EXPECT_FALSE(in_use(mount));
  EXPECT_EQ(count(mount.log(), "no FUSE over io_uring"), 0U);
}

// What came by a ring is interrupted by what is read from the device.
class WaitingSync : public ::testing::TestWithParam<int> {};

TEST_P(WaitingSync, IsEndedByASignal) {
  WritableMount rig({"fuse_uring=yes", "fsync=remote", "timeout=60"});
  ASSERT_EQ(rig.mount_again(), "");
  support::write_file(rig / "new", "what the source does not have");
  rig.tree().server().pause();
  ChildProcess syncing({"sync", rig / "new"});
  EXPECT_FALSE(syncing.wait_for(milliseconds(700))) << "it should be waiting: " << syncing.err();
  syncing.signal(GetParam());
  EXPECT_TRUE(syncing.wait_for(seconds(20))) << "it ignores signal " << GetParam();
  EXPECT_EQ(syncing.exit_code(), 128 + GetParam());
  rig.tree().server().resume();
  EXPECT_EQ(rig.flush(), "");
  EXPECT_EQ(support::read_file(rig.served() + "/new"), "what the source does not have");
}

INSTANTIATE_TEST_SUITE_P(Signals, WaitingSync, ::testing::Values(SIGINT, SIGTERM, SIGKILL));

}  // namespace
}  // namespace rsyncfs::mount_tests
