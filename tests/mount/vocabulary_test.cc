// SPDX-License-Identifier: GPL-3.0-or-later
// Options that rsync has by the same names, against real servers: chmod, usermap and groupmap, filter rules,
// compression, checksums.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tests/mount/writable_mount.h"
#include "tests/support/metered_proxy.h"
#include "tests/support/ssh_server.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

mode_t mode_of(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? status.st_mode & ALLPERMS : 0;
}
uid_t owner_of(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? status.st_uid : static_cast<uid_t>(-1);
}
gid_t group_of(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 ? status.st_gid : static_cast<gid_t>(-1);
}
bool exists(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0;
}

// What a real rsync makes of the same changes.
TEST(Chmod, ShowsWhatRsyncMakesOfIt) {
  ServedTree tree;
  for (const mode_t mode : {0600, 0644, 0755, 04711, 02070, 01777, 0}) {
    const std::string name = std::to_string(mode);
    support::write_file(tree / ("f" + name), "x");
    support::make_dirs(tree / ("d" + name));
    ASSERT_EQ(chmod((tree / ("f" + name)).c_str(), mode), 0);
    ASSERT_EQ(chmod((tree / ("d" + name)).c_str(), mode), 0);
  }
  for (const std::string changes : {"D755,F644", "go-w", "Dg+s,ug+w,Fo-w,+X", "u=rwX,go=rX", "a+s", "g=u",
                                    "o=", "F-x", "ug-s,+t", "u+x,o=g,D+w"}) {
    TempDir copied;
    const std::string url = tree.server().url();
    ASSERT_EQ(support::run_command({"rsync", "-a", "--chmod=" + changes, url + "/", copied.path() + "/"},
                                   seconds(20))
                  .exit_code,
              0);
    std::string escaped = changes;
    for (size_t at = 0; (at = escaped.find(',', at)) != std::string::npos; at += 2) escaped.insert(at, "\\");
    Mount mount(tree.mount_options({"chmod=" + escaped}));
    for (const auto& entry : std::filesystem::directory_iterator(copied.path())) {
      const std::string name = entry.path().filename();
      EXPECT_EQ(mode_of(mount / name), mode_of(entry.path())) << changes << " of " << name;
    }
  }
}

TEST(Chmod, ChangesAtTheSourceOnlyWhatSomebodyChanges) {
  WritableMount mount({"chmod=F644"});
  support::write_file(mount.tree() / "kept", "x");
  support::write_file(mount.tree() / "changed", "x");
  ASSERT_EQ(chmod((mount.tree() / "kept").c_str(), 0600), 0);
  ASSERT_EQ(chmod((mount.tree() / "changed").c_str(), 0600), 0);
  ASSERT_EQ(mount.mount_again(), "");
  EXPECT_EQ(mode_of(mount / "kept"), 0644U);
  support::write_file(mount / "kept", "new bytes");
  ASSERT_EQ(chmod((mount / "kept").c_str(), 0644), 0);  // as it is shown
  ASSERT_EQ(chmod((mount / "changed").c_str(), 0750), 0);
  ASSERT_EQ(mount.flush(), "");
  EXPECT_EQ(support::read_file(mount.tree() / "kept"), "new bytes");
  EXPECT_EQ(mode_of(mount.tree() / "kept"), 0600U);
  EXPECT_EQ(mode_of(mount.tree() / "changed"), 0750U);
}

class IdMaps : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "owners can be set by root only";
  }
  static void give(const std::string& path, uid_t uid, gid_t gid) {
    support::write_file(path, "x");
    ASSERT_EQ(lchown(path.c_str(), uid, gid), 0) << std::strerror(errno);
  }
};

TEST_F(IdMaps, ShowWhatTheySay) {
  ServedTree tree;
  give(tree / "by_name", 1, 1);  // daemon
  give(tree / "in_range", 54'050, 54'001);
  give(tree / "nameless", 60'001, 60'001);
  give(tree / "named", 2, 2);  // bin
  Mount mount(tree.mount_options(
      {"usermap=daemon:777\\,54000-54099:bin\\,:888\\,*:999", "groupmap=d*:games\\,54001:4444"}));
  EXPECT_EQ(owner_of(mount / "by_name"), 777U);
  EXPECT_EQ(owner_of(mount / "in_range"), 2U);
  EXPECT_EQ(owner_of(mount / "nameless"), 888U);
  EXPECT_EQ(owner_of(mount / "named"), 999U);
  EXPECT_EQ(group_of(mount / "by_name"), 60U);
  EXPECT_EQ(group_of(mount / "in_range"), 4444U);
  EXPECT_EQ(group_of(mount / "nameless"), 60'001U);
}

TEST_F(IdMaps, NamesAreEmptyWithNumericIds) {
  ServedTree tree;
  give(tree / "a", 1, 1);
  give(tree / "b", 2, 2);
  Mount mount(tree.mount_options({"numeric_ids", "usermap=daemon:777\\,2:888\\,:999"}));
  EXPECT_EQ(owner_of(mount / "a"), 999U);
  EXPECT_EQ(owner_of(mount / "b"), 888U);
  EXPECT_EQ(group_of(mount / "a"), 1U);
}

TEST_F(IdMaps, WhatIsShownAsAnotherGoesBackAsItsOwn) {
  WritableMount mount({"usermap=54321:777\\,54322-54330:888", "groupmap=54321:777"});
  give(mount.tree() / "one", 54'321, 54'321);
  give(mount.tree() / "several", 54'325, 0);
  give(mount.tree() / "given", 54'321, 54'321);
  ASSERT_EQ(mount.mount_again(), "");
  EXPECT_EQ(owner_of(mount / "one"), 777U);
  support::write_file(mount / "one", "changed");
  support::write_file(mount / "several", "changed");
  ASSERT_EQ(chmod((mount / "several").c_str(), 0640), 0);
  ASSERT_EQ(lchown((mount / "several").c_str(), 888, 0), 0);  // as it is shown
  ASSERT_EQ(lchown((mount / "given").c_str(), 5, static_cast<gid_t>(-1)), 0);
  support::write_file(mount / "new", "x");
  ASSERT_EQ(lchown((mount / "new").c_str(), 777, 777), 0);
  ASSERT_EQ(mount.flush(), "");
  EXPECT_EQ(support::read_file(mount.tree() / "one"), "changed");
  EXPECT_EQ(owner_of(mount.tree() / "one"), 54'321U);
  EXPECT_EQ(group_of(mount.tree() / "one"), 54'321U);
  EXPECT_EQ(owner_of(mount.tree() / "several"), 54'325U);
  EXPECT_EQ(owner_of(mount.tree() / "given"), 5U);
  EXPECT_EQ(owner_of(mount.tree() / "new"), 54'321U);
  EXPECT_EQ(group_of(mount.tree() / "new"), 54'321U);
}

class Filters : public ::testing::Test {
 protected:
  explicit Filters(std::vector<std::string> options = {"exclude=*.o", "filter=- /tmp/", "exclude=cache/**"})
      : mount(std::move(options)) {
    support::make_dirs(mount.tree() / "d/tmp");
    support::make_dirs(mount.tree() / "tmp");
    support::write_file(mount.tree() / "d/kept.c", "c");
    support::write_file(mount.tree() / "d/theirs.o", "theirs");
    support::write_file(mount.tree() / "d/tmp/file", "not at the top");
    support::write_file(mount.tree() / "tmp/file", "at the top");
  }
  void SetUp() override { ASSERT_EQ(mount.mount_again(), ""); }
  WritableMount mount;
};

TEST_F(Filters, HideNames) {
  EXPECT_TRUE(exists(mount / "d/kept.c"));
  EXPECT_FALSE(exists(mount / "d/theirs.o"));
  EXPECT_FALSE(exists(mount / "tmp"));
  EXPECT_TRUE(exists(mount / "d/tmp/file"));
}

TEST_F(Filters, WhatIsMadeByALeftOutNameStaysHere) {
  support::write_file(mount / "d/ours.o", "ours");
  support::write_file(mount / "d/theirs.o", "ours by their name");
  support::make_dirs(mount / "tmp/below");
  support::write_file(mount / "tmp/below/x", "x");
  support::write_file(mount / "d/new.c", "new");
  ASSERT_EQ(mount.flush(), "");
  EXPECT_EQ(support::read_file(mount.tree() / "d/new.c"), "new");
  EXPECT_FALSE(exists(mount.tree() / "d/ours.o"));
  EXPECT_EQ(support::read_file(mount.tree() / "d/theirs.o"), "theirs");
  EXPECT_FALSE(exists(mount.tree() / "tmp/below"));
  EXPECT_EQ(support::read_file(mount.tree() / "tmp/file"), "at the top");
  EXPECT_EQ(state_of(mount / "d/ours.o"), "local");
  EXPECT_EQ(state_of(mount / "tmp/below/x"), "local");
  EXPECT_EQ(mount.mount().status_number("/push/pending_names"), 0);
  EXPECT_EQ(mount.mount().status_number("/push/local_only"), 5);
  EXPECT_THAT(mount.mount().command({"status", mount.path()}).out,
              HasSubstr("5 names left out by a filter rule, which stay here"));
  // Over a remount, and lists of the source.
  ASSERT_EQ(mount.take_in(), "");
  EXPECT_EQ(support::read_file(mount / "d/ours.o"), "ours");
  EXPECT_EQ(support::read_file(mount / "d/theirs.o"), "ours by their name");
  EXPECT_EQ(support::read_file(mount / "tmp/below/x"), "x");
  // Nor is what the source has by such a name removed.
  ASSERT_EQ(unlink((mount / "d/theirs.o").c_str()), 0);
  std::filesystem::remove_all(mount / "tmp");
  ASSERT_EQ(mount.flush(), "");
  EXPECT_EQ(support::read_file(mount.tree() / "d/theirs.o"), "theirs");
  EXPECT_EQ(support::read_file(mount.tree() / "tmp/file"), "at the top");
}

TEST_F(Filters, ADirectoryWithHiddenNamesIsNotRemovedAtTheSource) {
  std::filesystem::remove_all(mount / "d");
  EXPECT_EQ(mount.flush(), "");
  EXPECT_EQ(support::read_file(mount.tree() / "d/theirs.o"), "theirs");
  // What was shown is gone there; the directory is shown again, and what is in it is still left out.
  EXPECT_FALSE(exists(mount.tree() / "d/kept.c"));
  ASSERT_EQ(mount.take_in(), "");
  EXPECT_TRUE(exists(mount / "d"));
  EXPECT_FALSE(exists(mount / "d/theirs.o"));
  EXPECT_FALSE(exists(mount / "d/kept.c"));
}

TEST_F(Filters, MovingBetweenBothIsCopying) {
  EXPECT_EQ(rename((mount / "d/kept.c").c_str(), (mount / "d/kept.o").c_str()), -1);
  EXPECT_EQ(errno, EXDEV);
  EXPECT_EQ(link((mount / "d/kept.c").c_str(), (mount / "d/kept.o").c_str()), -1);
  EXPECT_EQ(errno, EXDEV);
  support::run_shell("mv " + (mount / "d/kept.c") + " " + (mount / "d/kept.o"));
  ASSERT_EQ(mount.flush(), "");
  EXPECT_FALSE(exists(mount.tree() / "d/kept.c"));
  EXPECT_FALSE(exists(mount.tree() / "d/kept.o"));
  EXPECT_EQ(support::read_file(mount / "d/kept.o"), "c");
  support::run_shell("mv " + (mount / "d/kept.o") + " " + (mount / "d/back.c"));
  ASSERT_EQ(mount.flush(), "");
  EXPECT_EQ(support::read_file(mount.tree() / "d/back.c"), "c");
}

TEST(FilterRulesOfAMount, ThatCannotBeMeantSaySo) {
  ServedTree tree;
  const auto complaint = [&](const std::string& option) {
    MountOptions options = tree.mount_options({option});
    Mount one(options, false);
    const CommandResult run = one.try_mount();
    EXPECT_NE(run.exit_code, 0) << option;
    return run.err;
  };
  EXPECT_THAT(complaint("filter=merge /x"), HasSubstr("reads rules from files, which is not supported"));
  EXPECT_THAT(complaint("filter=: .rsync-filter"), HasSubstr("give them as exclude=, include= or filter="));
  EXPECT_THAT(complaint("filter=P *.bak"), HasSubstr("what is hidden is never deleted"));
  EXPECT_THAT(complaint("filter=*.bak"), HasSubstr("begins with '- '"));
  EXPECT_THAT(complaint("iconv=utf8"), HasSubstr("names are not converted here"));
  EXPECT_THAT(complaint("compress=lz4"), HasSubstr("zstd takes its place"));
  EXPECT_THAT(complaint("skip_compress=gz"), HasSubstr("has no effect in rsync either"));
  EXPECT_THAT(complaint("compress_level=99"), HasSubstr("-131072 to 22"));
  EXPECT_THAT(complaint("usermap=a:nobody-here-of-that-name"), HasSubstr("whom this machine does not know"));
  EXPECT_THAT(complaint("groupmap=1-"), HasSubstr("has no colon"));
  EXPECT_THAT(complaint("chmod=u*x"), HasSubstr("is no change of a mode"));
}

// Text that every codec makes much smaller.
std::string text() {
  std::string out;
  for (int line = 0; line < 60'000; ++line) out += "line " + std::to_string(line) + " of a text\n";
  return out;
}

// Bytes on the wire for one file each way.
struct Cost {
  uint64_t read = 0;
  uint64_t pushed = 0;
};
Cost cost_of(const std::vector<std::string>& options) {
  DaemonOptions daemon = RsyncDaemon::serving("");
  daemon.modules[0].read_only = false;
  ServedTree tree(daemon);
  support::write_file(tree / "read", text());
  support::MeteredProxy proxy(tree.server().port());
  MountOptions mounting = tree.mount_options({"rw", "writeback_delay=50ms"});
  mounting.source = "rsync://127.0.0.1:" + std::to_string(proxy.port()) + "/m";
  mounting.options.insert(mounting.options.end(), options.begin(), options.end());
  Mount mount(mounting);
  const auto passed = [&] {
    const auto pieces = proxy.pieces();
    return pieces.empty() ? 0 : pieces.back();
  };
  Cost cost;
  proxy.count();
  EXPECT_EQ(read_whole(mount / "read").bytes, text());
  cost.read = passed();
  proxy.count();
  support::write_file(mount / "pushed", text());
  EXPECT_EQ(mount.command({"flush", mount.path()}).exit_code, 0);
  cost.pushed = passed();
  EXPECT_EQ(support::read_file(tree / "pushed"), text());
  return cost;
}

TEST(Compression, OfBothWaysIsSeenOnTheWire) {
  const Cost plain = cost_of({});
  EXPECT_GT(plain.read, text().size());
  EXPECT_GT(plain.pushed, text().size());
  for (const std::string option : {"compress=zstd", "compress=auto", "compress_choice=zlibx",
                                   "compress_level=1", "compress=zlibx,compress_level=9"}) {
    const size_t comma = option.find(',');
    std::vector<std::string> options{option.substr(0, comma)};
    if (comma != std::string::npos) options.push_back(option.substr(comma + 1));
    const Cost cost = cost_of(options);
    EXPECT_LT(cost.read, plain.read / 3) << option;
    EXPECT_LT(cost.pushed, plain.pushed / 3) << option;
  }
  EXPECT_GT(cost_of({"compress=zlibx", "compress_level=0"}).read, text().size());
}

TEST(Compression, AHigherLevelTakesFewerBytes) {
  const Cost fast = cost_of({"compress_level=-50"});
  const Cost small = cost_of({"compress=zstd", "compress_level=19"});
  EXPECT_LT(small.read, fast.read);
  EXPECT_LT(small.pushed, fast.pushed);
}

TEST(ChecksumChoice, EachIsUsed) {
  ServedTree tree;
  support::write_file(tree / "f", text());
  for (const std::string name : {"xxh128", "xxh3", "xxh64", "md5", "md4"}) {
    Mount mount(tree.mount_options({"checksum_choice=" + name}));
    EXPECT_EQ(read_whole(mount / "f").bytes, text()) << name;
    EXPECT_TRUE(wait_until([&] { return mount.status_text("/link/checksum") == name; }, seconds(10))) << name;
  }
}

TEST(Vocabulary, HoldsOverTheShell) {
  TempDir dir;
  support::write_file(dir / "f", text());
  support::write_file(dir / "hidden.o", "x");
  ASSERT_EQ(chmod((dir / "f").c_str(), 0600), 0);
  const support::SshServer ssh;
  MountOptions options;
  options.source = ssh.source(dir.path());
  options.options = {"rsh=" + ssh.rsh(), "compress=zstd", "exclude=*.o",        "chmod=F640",
                     "usermap=*:777",    "ipv4",          "checksum_choice=md5"};
  Mount mount(options);
  EXPECT_EQ(read_whole(mount / "f").bytes, text());
  EXPECT_FALSE(exists(mount / "hidden.o"));
  EXPECT_EQ(mode_of(mount / "f"), 0640U);
  EXPECT_EQ(owner_of(mount / "f"), 777U);
  EXPECT_LT(mount.status_number("/totals/bytes_in"), static_cast<int64_t>(text().size() / 3));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
