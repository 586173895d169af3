// SPDX-License-Identifier: GPL-3.0-or-later
// Files that are not at the source what its list said: a reader gets one version whole or an honest error, at
// once.
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "tests/mount/mount_rig.h"
#include "tests/support/torture_tree.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr int kLongTimeout_s = 120;
constexpr int kShortTimeout_s = 4;
constexpr seconds kAtOnce{30};  // a quarter of the long limit, and more than a busy machine takes
constexpr const char* kOld = "the old version, as it was listed";

class RemoteChange : public OnEachEngine {
 protected:
  RemoteChange() {
    support::write_file(tree / "file", kOld);
    support::make_dirs(tree / "dir");
    support::write_file(tree / "dir/inside", kOld);
    support::write_file(tree / "other", "another file");
  }
  // Mounted, with everything listed, so that the daemon knows only what was before the change. With the long
  // limit, a reader who waits for that instead of for an answer is killed first, which fails the test.
  Mount& listed_mount(int timeout_s = kLongTimeout_s) {
    mount.emplace(
        tree.mount_options({"io=" + GetParam(), "timeout=" + std::to_string(timeout_s), "contimeout=2"}));
    EXPECT_TRUE(wait_for_tree(*mount));
    EXPECT_TRUE(list_names(*mount / "dir").ok);
    return *mount;
  }
  void expect_service_goes_on() {
    Reading reading;
    EXPECT_TRUE(wait_until([&] { return (reading = read_whole(*mount / "other", kAtOnce)).ok; }, seconds(60)))
        << reading.error << mount->log();
    EXPECT_EQ(reading.bytes, "another file");
  }
  ServedTree tree;
  std::optional<Mount> mount;
};
INSTANTIATE_TEST_SUITE_P(Io, RemoteChange, ::testing::Values("uring", "threads"));

TEST_P(RemoteChange, Vanished) {
  listed_mount();
  unlink((tree / "file").c_str());
  const Reading reading = read_whole(*mount / "file", kAtOnce);
  EXPECT_FALSE(reading.ok);
  EXPECT_FALSE(reading.timed_out);
  EXPECT_THAT(reading.error, AnyOf(HasSubstr("No such file"), HasSubstr("Stale")));
  expect_service_goes_on();
}

TEST_P(RemoteChange, VanishedWithItsDirectory) {
  listed_mount();
  support::remove_tree(tree / "dir");
  const Reading reading = read_whole(*mount / "dir/inside", kAtOnce);
  EXPECT_FALSE(reading.timed_out);
  EXPECT_THAT(reading.error, AnyOf(HasSubstr("No such file"), HasSubstr("Stale")));
  expect_service_goes_on();
}

TEST_P(RemoteChange, ReplacedByAnotherVersion) {
  listed_mount();
  const std::string new_bytes = "new and rather longer than what it replaces, by some words at least";
  support::write_file(tree / "file.new", new_bytes);
  support::set_mtime(tree / "file.new", 1234567890, 0);
  ASSERT_EQ(rename((tree / "file.new").c_str(), (tree / "file").c_str()), 0);
  // The first reader may be told that the version it opened is gone; nobody may get a cut or a mixed one.
  const Reading first = read_whole(*mount / "file", kAtOnce);
  EXPECT_FALSE(first.timed_out);
  if (first.ok) {
    EXPECT_THAT(first.bytes, AnyOf(new_bytes, kOld));
  }
  Reading later;
  EXPECT_TRUE(
      wait_until([&] { return (later = read_whole(*mount / "file")).bytes == new_bytes; }, seconds(60)))
      << later.bytes << later.error;
  struct stat info {};
  ASSERT_EQ(stat((*mount / "file").c_str(), &info), 0);
  EXPECT_EQ(info.st_size, static_cast<off_t>(new_bytes.size()));
  const auto mtime = [&] { return stat((*mount / "file").c_str(), &info) == 0 ? info.st_mtim.tv_sec : 0; };
  EXPECT_TRUE(wait_until([&] { return mtime() == 1234567890; }, seconds(60))) << mtime();
}

TEST_P(RemoteChange, ShrunkInPlace) {
  listed_mount();
  support::write_file(tree / "file", "short");
  const Reading first = read_whole(*mount / "file", kAtOnce);
  EXPECT_FALSE(first.timed_out);
  if (first.ok) {
    EXPECT_THAT(first.bytes, AnyOf("short", kOld));
  }
  Reading later;
  EXPECT_TRUE(wait_until([&] { return (later = read_whole(*mount / "file")).bytes == "short"; }, seconds(60)))
      << later.bytes << later.error;
}

TEST_P(RemoteChange, ReplacedWhileItStreams) {
  const std::string old_bytes = support::random_bytes(60U << 20, 1);
  support::write_file(tree / "large", old_bytes);
  listed_mount();
  support::ChildProcess reader({"cat", *mount / "large"});
  ASSERT_TRUE(wait_until([&] { return mount->status_number("/totals/bytes_in") > (1 << 20); }, seconds(60)));
  support::write_file(tree / "large.new", support::random_bytes(60U << 20, 2));
  ASSERT_EQ(rename((tree / "large.new").c_str(), (tree / "large").c_str()), 0);
  ASSERT_TRUE(reader.wait_for(seconds(60)));
  if (reader.exit_code() == 0) {
    EXPECT_TRUE(reader.out() == old_bytes) << "a mix of two versions";
  }
  expect_service_goes_on();
}

TEST_P(RemoteChange, BecameAFifo) {
  listed_mount(kShortTimeout_s);
  unlink((tree / "file").c_str());
  ASSERT_EQ(mkfifo((tree / "file").c_str(), 0644), 0);
  // The serving rsync now blocks in open(2) for ever; only a limit on waiting helps.
  const Reading reading = read_whole(*mount / "file", seconds(60));
  EXPECT_FALSE(reading.ok);
  EXPECT_FALSE(reading.timed_out) << "the reader hangs";
  expect_service_goes_on();
}

TEST_P(RemoteChange, BecameADirectory) {
  listed_mount();
  unlink((tree / "file").c_str());
  support::make_dirs(tree / "file");
  const Reading reading = read_whole(*mount / "file", kAtOnce);
  EXPECT_FALSE(reading.ok) << "read " << reading.bytes.size() << " bytes";
  EXPECT_FALSE(reading.timed_out);
  expect_service_goes_on();
}

TEST_P(RemoteChange, BecameASymlink) {
  listed_mount();
  unlink((tree / "file").c_str());
  ASSERT_EQ(symlink("other", (tree / "file").c_str()), 0);
  const Reading reading = read_whole(*mount / "file", kAtOnce);
  // Refused, or already known to be a link, which is then followed here.
  EXPECT_THAT(reading.bytes, AnyOf("", "another file"));
  EXPECT_FALSE(reading.timed_out);
  expect_service_goes_on();
}

TEST(Unreadable, IsPermissionDeniedAndNothingElseSuffers) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can serve as another user";
  DaemonOptions server = RsyncDaemon::serving("");
  server.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}};
  ServedTree tree(server);
  support::write_file(tree / "secret", "nobody may", 0600);
  support::write_file(tree / "open", "everybody may");
  support::make_dirs(tree / "closed");
  support::write_file(tree / "closed/in", "x");
  chmod((tree / "closed").c_str(), 0700);
  Mount mount(tree.mount_options({"timeout=" + std::to_string(kLongTimeout_s)}));
  const Reading reading = read_whole(mount / "secret", kAtOnce);
  EXPECT_FALSE(reading.timed_out);
  EXPECT_THAT(reading.error, HasSubstr("Permission denied"));
  EXPECT_EQ(read_whole(mount / "open").bytes, "everybody may");
  const Reading closed = list_names(mount / "closed", kAtOnce);
  EXPECT_FALSE(closed.timed_out);
  EXPECT_THAT(closed.error, AnyOf("", HasSubstr("Permission denied")));
  EXPECT_EQ(read_whole(mount / "open").bytes, "everybody may");
}

}  // namespace
}  // namespace rsyncfs::mount_tests
