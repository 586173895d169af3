// SPDX-License-Identifier: GPL-3.0-or-later
// Where state and sockets lie, and how verbs find the mount of a path without touching it.
#include "fs/control/places.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/control/client.h"
#include "fs/control/local_socket.h"
#include "fs/control/mount_claim.h"
#include "fs/control/mount_record.h"
#include "fs/control/mount_table.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using support::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

UserPlaces user_of(uid_t uid, const std::string& home) {
  UserPlaces user;
  user.uid = uid;
  user.home = home;
  return user;
}

TEST(StateRoot, FollowsTheRules) {
  UserPlaces root = user_of(0, "/root");
  root.xdg_state = "/x";
  EXPECT_EQ(*state_root(root), "/var/lib/rsyncfs") << "root's own settings do not move the system's state";
  UserPlaces user = user_of(1000, "/home/u");
  EXPECT_EQ(*state_root(user), "/home/u/.local/state/rsyncfs");
  user.xdg_state = "/x/";
  EXPECT_EQ(*state_root(user), "/x/rsyncfs");
  user.xdg_state = "relative";
  EXPECT_EQ(*state_root(user), "/home/u/.local/state/rsyncfs");
  user.state_dir = "/given";
  EXPECT_EQ(*state_root(user), "/given");
  root.state_dir = "/given";
  EXPECT_EQ(*state_root(root), "/given");
  user.state_dir = "given";
  EXPECT_THAT(state_root(user).error().message(), HasSubstr("RSYNCFS_STATE_DIR"));
  EXPECT_EQ(state_root(user_of(1000, "")).error().code(), Errc::kUsage);
}

TEST(RuntimeDirectory, FollowsTheRules) {
  EXPECT_EQ(*runtime_directory(user_of(0, "/root")), "/run/rsyncfs");
  UserPlaces user = user_of(1000, "/home/u");
  EXPECT_EQ(*runtime_directory(user), "/home/u/.local/state/rsyncfs/run");
  EXPECT_THAT(runtime_directories(user),
              ElementsAre("/home/u/.local/state/rsyncfs/run", "/run/user/1000/rsyncfs"));
  user.xdg_runtime = "/run/user/1000";
  EXPECT_EQ(*runtime_directory(user), "/run/user/1000/rsyncfs");
  EXPECT_THAT(runtime_directories(user),
              ElementsAre("/run/user/1000/rsyncfs", "/home/u/.local/state/rsyncfs/run"));
  user.runtime_dir = "/given";
  EXPECT_THAT(runtime_directories(user), ElementsAre("/given"));
  user.runtime_dir = "given";
  EXPECT_EQ(runtime_directory(user).error().code(), Errc::kUsage);
}

TEST(MountId, IsReadableAndDistinct) {
  const std::string id = mount_id("rsync://u@h.example:8873/mod/a b", "/mnt/x");
  EXPECT_THAT(id, ::testing::StartsWith("u-h.example-8873-mod-a-b-"));
  EXPECT_EQ(id, mount_id("rsync://u@h.example:8873/mod/a b", "/mnt/x")) << "over restarts the same";
  EXPECT_NE(id, mount_id("rsync://u@h.example:8873/mod/a b", "/mnt/y"));
  EXPECT_NE(id, mount_id("rsync://u@h.example:8873/mod/a-b", "/mnt/x"));
  EXPECT_NE(mount_id("a", "bc"), mount_id("ab", "c"));
  for (const std::string& source : std::vector<std::string>{"rsync://h/../../etc", "h:/..", "..", "",
                                                            "h:\xff\n/", std::string(5000, 'x')}) {
    const std::string name = mount_id(source, "/m");
    EXPECT_EQ(name.find('/'), std::string::npos) << name;
    EXPECT_NE(name.front(), '.') << name;
    EXPECT_NE(name.front(), '-') << name;
    EXPECT_LT(name.size(), 80U);
  }
}

// Mounts of an older program must be found by a newer one.
TEST(SocketName, DoesNotChange) {
  EXPECT_EQ(socket_name("/mnt/tree"), record_name("/mnt/tree").substr(0, 16) + ".sock");
  EXPECT_EQ(socket_name("/mnt/tree"), "c403f16ecde601ae.sock");
}

TEST(LexicalAbsolute, KnowsLettersOnly) {
  EXPECT_EQ(lexical_absolute("a/../b/./c//d/", "/w"), "/w/b/c/d");
  EXPECT_EQ(lexical_absolute("/../..", "/w"), "/");
  EXPECT_EQ(lexical_absolute(".", "/w/x"), "/w/x");
  EXPECT_EQ(lexical_absolute("", "/w"), "/w");
  EXPECT_EQ(parent_path("/a/b"), "/a");
  EXPECT_EQ(parent_path("/a"), "/");
  EXPECT_EQ(parent_path("/"), "/");
}

TEST(PrivateDirectory, IsMadeClosedAndOurs) {
  const TempDir dir;
  const std::string path = dir / "a/b/c";
  ASSERT_TRUE(make_private_directory(path).ok());
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
  ASSERT_EQ(chmod(path.c_str(), 0777), 0);
  ASSERT_TRUE(make_private_directory(path).ok());
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U) << "others are shut out again";
  ASSERT_EQ(symlink(path.c_str(), (dir / "link").c_str()), 0);
  EXPECT_FALSE(make_private_directory(dir / "link").ok()) << "a link may lead anywhere";
  std::ofstream(dir / "file") << "x";
  EXPECT_FALSE(make_private_directory(dir / "file").ok());
  EXPECT_FALSE(make_private_directory(dir / "file/below").ok());
  if (geteuid() != 0) return;
  constexpr uid_t kOther = 65534;
  ASSERT_EQ(chown(path.c_str(), kOther, kOther), 0);
  EXPECT_EQ(make_private_directory(path).error().code(), Errc::kRefused);
}

class FindMount : public ::testing::Test {
 protected:
  FindMount() {
    user.uid = geteuid();
    user.runtime_dir = dir.make_dir("run");
    mountpoint = dir.make_dir("mnt");
  }
  void leave_record(const std::string& point) {
    ASSERT_TRUE(
        write_mount_record(user.runtime_dir, {getpid(), point, "rsync://h/m", "fuse.rsyncfs", "h::m", ""})
            .ok());
  }
  std::string found(const std::string& path) {
    const Result<FoundMount> mount = find_mount(path, user);
    return mount ? mount->mountpoint + "|" + mount->inner : "none: " + mount.error().message();
  }
  TempDir dir;
  UserPlaces user;
  std::string mountpoint;
};

TEST_F(FindMount, WalksUpByTheLetters) {
  leave_record(mountpoint);
  EXPECT_EQ(found(mountpoint), mountpoint + "|");
  EXPECT_EQ(found(mountpoint + "/"), mountpoint + "|");
  EXPECT_EQ(found(mountpoint + "/a/b\xff"), mountpoint + "|a/b\xff") << "the path need not exist";
  EXPECT_EQ(found(mountpoint + "/a/../c"), mountpoint + "|c");
  EXPECT_EQ(found(mountpoint + "x"), "none: no rsyncfs mount at " + mountpoint + "x");
  EXPECT_EQ(found(dir.path()), "none: no rsyncfs mount at " + dir.path());
}

TEST_F(FindMount, TakesTheInnermost) {
  leave_record(mountpoint);
  leave_record(mountpoint + "/in");
  EXPECT_EQ(found(mountpoint + "/in/f"), mountpoint + "/in|f");
  EXPECT_EQ(found(mountpoint + "/inn"), mountpoint + "|inn");
}

TEST_F(FindMount, FollowsLinksThatLeadToIt) {
  leave_record(mountpoint);
  ASSERT_EQ(symlink(mountpoint.c_str(), (dir / "absolute").c_str()), 0);
  ASSERT_EQ(symlink("mnt/sub", (dir / "relative").c_str()), 0);
  ASSERT_EQ(symlink("loop", (dir / "loop").c_str()), 0);
  EXPECT_EQ(found(dir / "absolute/f"), mountpoint + "|f");
  EXPECT_EQ(found(dir / "relative/f"), mountpoint + "|sub/f");
  EXPECT_THAT(found(dir / "loop/f"), HasSubstr("none"));
}

TEST_F(FindMount, IsNotLedByOtherFiles) {
  std::ofstream(user.runtime_dir + "/" + record_name("/elsewhere"))
      << "{\"mountpoint\":\"/tmp\",\"source\":\"s\"}";
  std::ofstream(user.runtime_dir + "/garbage.mount") << "garbage";
  leave_record(mountpoint);
  const std::vector<RecordedMount> all = recorded_mounts(user);
  ASSERT_EQ(all.size(), 1U) << "a record that does not belong to its name is no record";
  EXPECT_EQ(all[0].record.mountpoint, mountpoint);
  EXPECT_EQ(all[0].record.source, "rsync://h/m");
  EXPECT_EQ(all[0].record.pid, getpid());
}

TEST_F(FindMount, ADeadDaemonIsCalledSo) {
  leave_record(mountpoint);
  const Result<FoundMount> mount = find_mount(mountpoint, user);
  ASSERT_TRUE(mount.ok());
  const Result<ControlClient> client = ControlClient::connect(*mount, 1000);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().message(), "the daemon for " + mountpoint + " is gone");
  release_mount(user.runtime_dir, mountpoint, getpid() + 1);
  EXPECT_TRUE(find_mount(mountpoint, user).ok()) << "not that daemon's";
  release_mount(user.runtime_dir, mountpoint, getpid());
  EXPECT_FALSE(find_mount(mountpoint, user).ok());
}

TEST_F(FindMount, ARecordSpeaksOfOneMountOnly) {
  const MountRecord record{1, "/m", "rsync://h/m", "fuse.rsyncfs", "h::m", "0:54"};
  const auto matches = [&](const std::string& type, const std::string& source, const std::string& device) {
    return is_recorded(MountedAt{"/m", type, source, device, "ro"}, record);
  };
  EXPECT_TRUE(matches("fuse.rsyncfs", "h::m", "0:54"));
  EXPECT_FALSE(matches("fuse.sshfs", "h::m", "0:54"));
  EXPECT_FALSE(matches("fuse.rsyncfs", "h::n", "0:54"));
  EXPECT_FALSE(matches("fuse.rsyncfs", "h::m", "0:55"));
}

TEST_F(FindMount, AClaimIsOneDaemonsUntilItsMountIsGone) {
  MountRecord record{getpid(), mountpoint, "rsync://h/m", "fuse.rsyncfs", "h::m", ""};
  const Result<UniqueFd> first = claim_mount(user.runtime_dir, record);
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_EQ(claim_mount(user.runtime_dir, record).error().os_errno(), EBUSY) << "it is about to mount";
  record.device = "0:999999";
  ASSERT_TRUE(renew_claim(user.runtime_dir, record).ok());
  MountRecord successor = record;
  successor.pid = getppid();
  successor.device = "";
  const Result<UniqueFd> second = claim_mount(user.runtime_dir, successor);
  ASSERT_TRUE(second.ok()) << "nothing is mounted there: " << second.error().message();
  ASSERT_TRUE(renew_claim(user.runtime_dir, record).ok());
  release_mount(user.runtime_dir, mountpoint, getpid());
  const std::vector<RecordedMount> all = recorded_mounts(user);
  ASSERT_EQ(all.size(), 1U) << "the successor's files are not the first one's to touch";
  EXPECT_EQ(all[0].record.pid, getppid());
  EXPECT_TRUE(connect_local(user.runtime_dir + "/" + socket_name(mountpoint), 1000).ok());
}

TEST(MountTable, ReadsWhatTheKernelWrites) {
  const std::vector<MountedAt> mounts = parse_mount_table(
      "36 35 98:0 /mnt1 /mnt/a\\040b\\134 rw,noatime master:1 - fuse.rsyncfs rsync://h/m\\040x ro,user_id=0\n"
      "37 35 98:0 / /n rw shared:1 master:2 - ext4 /dev/sda rw\n"
      "38 35 98:0 / /o rw - fuse src rw\n"
      "garbage\n"
      "39 35 98:0 / /p rw master:1\n");
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0].mountpoint, "/mnt/a b\\");
  EXPECT_EQ(mounts[0].source, "rsync://h/m x");
  EXPECT_TRUE(mounts[0].is_ours() && mounts[0].is_fuse());
  EXPECT_EQ(mounts[0].options, "rw,noatime,ro,user_id=0");
  EXPECT_EQ(mounts[1].type, "ext4");
  EXPECT_FALSE(mounts[1].is_fuse());
  EXPECT_TRUE(mounts[2].is_fuse() && !mounts[2].is_ours());
  ASSERT_TRUE(mounted_at("/").has_value());
  EXPECT_FALSE(mounted_at("/nothing/is/mounted/here").has_value());
}

TEST(MountTable, NamesTheUsersOfADirectory) {
  const TempDir dir;
  EXPECT_TRUE(users_of_mount(dir.path()).empty());
  const std::ofstream open_file(dir / "file");
  const std::vector<std::string> users = users_of_mount(dir.path());
  ASSERT_EQ(users.size(), 1U);
  EXPECT_THAT(users[0], HasSubstr("pid " + std::to_string(getpid()) + " ("));
  EXPECT_TRUE(users_of_mount(dir.path() + "x").empty());
}

TEST(AbsoluteMountpoint, ResolvesAllButTheLast) {
  const TempDir dir;
  dir.make_dir("real");
  ASSERT_EQ(symlink("real", (dir / "link").c_str()), 0);
  EXPECT_EQ(*absolute_mountpoint(dir / "link/x//"), dir / "real/x");
  EXPECT_EQ(*absolute_mountpoint(dir / "link"), dir / "link");
  EXPECT_EQ(*absolute_mountpoint(dir / "link/."), dir / "real");
  EXPECT_EQ(*absolute_mountpoint("/"), "/");
  EXPECT_EQ(*absolute_mountpoint("/x"), "/x");
  EXPECT_EQ(absolute_mountpoint(dir / "missing/x").error().os_errno(), ENOENT);
}

}  // namespace
}  // namespace rsyncfs
