// SPDX-License-Identifier: GPL-3.0-or-later
// `rsyncfs verify`: what is damaged in the store is found and fetched again, and what is here is compared
// with the source.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "tests/mount/writable_mount.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kLarge = 3 << 20;

// The files of the only store of a mount in which contents lie.
std::vector<std::string> stored_files(const Mount& mount, const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(mount.state_dir())) {
    if (entry.is_regular_file() && entry.path().native().find("/" + folder + "/") != std::string::npos)
      out.push_back(entry.path().native());
  }
  return out;
}

// Turns the bits of one byte of what is stored as `contents` (or part of it). False: it is stored nowhere.
bool damage(const Mount& mount, const std::string& folder, const std::string& contents, size_t offset) {
  for (const std::string& path : stored_files(mount, folder)) {
    const size_t found = support::read_file(path).find(contents);
    if (found == std::string::npos) continue;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    const char other = static_cast<char>(~contents[offset]);
    const bool done = fd >= 0 && pwrite(fd, &other, 1, static_cast<off_t>(found + offset)) == 1;
    if (fd >= 0) close(fd);
    return done;
  }
  return false;
}

class Verify : public ::testing::Test {
 protected:
  Verify() {
    large = support::random_bytes(kLarge, 1);
    put("large", large);
    for (int i = 0; i < 40; ++i)
      put("small/f" + std::to_string(i), support::random_bytes(2'000 + i, 100 + i));
  }
  void put(const std::string& name, const std::string& contents) {
    support::make_dirs(std::filesystem::path(tree / name).parent_path());
    support::write_file(tree / name, contents);
    support::set_mtime(tree / name, 1'700'000'000, 0);
  }
  static CommandResult verify(const Mount& mount, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), "verify");
    if (arguments.back() == "verify" || arguments.back() == "--remote") arguments.push_back(mount.path());
    return mount.command(arguments);
  }
  static void fetch(const Mount& mount) {
    const CommandResult run = mount.command({"fetch", mount.path()});
    ASSERT_EQ(run.exit_code, 0) << run.err;
  }
  void expect_contents(const Mount& mount) {
    EXPECT_TRUE(read_whole(mount / "large").bytes == large);
    for (int i = 0; i < 40; ++i) {
      const std::string name = "small/f" + std::to_string(i);
      EXPECT_EQ(read_whole(mount / name).bytes, support::read_file(tree / name)) << name;
    }
  }

  ServedTree tree;
  std::string large;
};

TEST_F(Verify, SaysHowMuchItReadAndThatNothingIsDamaged) {
  Mount mount(tree.mount_options());
  CommandResult run = verify(mount);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "0 files, 0 B checked; nothing is damaged\n") << "nothing is fetched for it";
  fetch(mount);
  run = verify(mount);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "41 files, 3.1 MiB checked; nothing is damaged\n");
  run = verify(mount, {mount / "small/f1", mount / "large"});
  EXPECT_EQ(run.out, "2 files, 3.0 MiB checked; nothing is damaged\n");
  EXPECT_EQ(verify(mount, {mount / "none"}).exit_code, 1);
}

TEST_F(Verify, DamageIsFoundAndFetchedAgain) {
  Mount mount(tree.mount_options());
  fetch(mount);
  const std::string small = support::read_file(tree / "small/f7");
  ASSERT_TRUE(damage(mount, "blocks", large, kLarge / 2));
  ASSERT_TRUE(damage(mount, "slabs", small, 100));
  const CommandResult run = verify(mount);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, ContainsRegex("/large: [^\n]* damaged; fetched again\n"));
  EXPECT_THAT(run.out, ContainsRegex("/small/f7: [^\n]* damaged; fetched again\n"));
  EXPECT_THAT(run.out, HasSubstr("2 damaged files, both fetched again\n"));
  EXPECT_THAT(run.out, Not(HasSubstr("f8:")));
  expect_contents(mount);
  EXPECT_THAT(verify(mount).out, HasSubstr("41 files, 3.1 MiB checked; nothing is damaged\n"));
}

TEST_F(Verify, WhatWasReadBeforeIsReadRightAfterwards) {
  Mount mount(tree.mount_options());
  fetch(mount);
  ASSERT_TRUE(damage(mount, "blocks", large, 5));
  read_whole(mount / "large");  // whatever that gives
  const CommandResult run = verify(mount, {mount / "large"});
  EXPECT_EQ(run.exit_code, 0) << run.err << run.out;
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "large").bytes == large; }, seconds(10)));
}

// Nobody verifies: a reader finds out.
TEST_F(Verify, WhatTheDiskDamagedIsShownToNobody) {
  Mount mount(tree.mount_options({"timeout=2", "contimeout=1"}));
  fetch(mount);
  mount.kill9();
  const std::string small = support::read_file(tree / "small/f7");
  ASSERT_TRUE(damage(mount, "blocks", large, kLarge / 2));
  ASSERT_TRUE(damage(mount, "slabs", small, 100));
  tree.server().stop();
  mount.remount();
  // What is sound is served, and only that.
  EXPECT_TRUE(read_head(mount / "large", 100'000).bytes == large.substr(0, 100'000));
  EXPECT_EQ(read_whole(mount / "small/f8").bytes, support::read_file(tree / "small/f8"));
  EXPECT_FALSE(read_whole(mount / "large").ok);
  EXPECT_FALSE(read_whole(mount / "small/f7").ok);
  tree.server().start();
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "large").bytes == large; }, seconds(20)));
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "small/f7").bytes == small; }, seconds(20)));
  fetch(mount);
  EXPECT_THAT(verify(mount).out, HasSubstr("41 files, 3.1 MiB checked; nothing is damaged\n"));
}

TEST_F(Verify, WithoutTheSourceItIsFetchedLater) {
  Mount mount(tree.mount_options({"timeout=2", "contimeout=1"}));
  fetch(mount);
  ASSERT_TRUE(damage(mount, "blocks", large, 17));
  tree.server().stop();
  CommandResult run = verify(mount);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, ContainsRegex("/large: [^\n]* damaged; fetched when it is next read, because: "));
  EXPECT_THAT(run.out, HasSubstr("1 damaged file, fetched when read\n"));
  tree.server().start();
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "large").bytes == large; }, seconds(20)));
  fetch(mount);
  run = verify(mount);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("nothing is damaged"));
}

TEST_F(Verify, RemoteProvesThatAllIsEqualForFewBytes) {
  put("huge", support::random_bytes(64 << 20, 3));
  put("absent", "never read");
  Mount mount(tree.mount_options());
  fetch(mount);
  ASSERT_EQ(mount.command({"free", mount / "absent"}).exit_code, 0);
  const int64_t before = mount.status_number("/totals/bytes_in") + mount.status_number("/totals/bytes_out");
  const int64_t fetched = files_fetched(mount);
  const CommandResult run = verify(mount, {"--remote"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, ContainsRegex("42 files, 67.1 MiB checked; nothing is damaged\n"
                                     "42 files, 67.1 MiB are as at the source; 1 not here \\(.* sent, .* "
                                     "received\\)\n"));
  const int64_t cost =
      mount.status_number("/totals/bytes_in") + mount.status_number("/totals/bytes_out") - before;
  EXPECT_LT(cost, 20'000) << run.out;
  EXPECT_EQ(files_fetched(mount), fetched);
}

TEST_F(Verify, RemoteFindsWhatTheSourceChangedUnseen) {
  Mount mount(tree.mount_options());
  fetch(mount);
  expect_contents(mount);  // the kernel has it, too
  large[kLarge - 1] = static_cast<char>(~large[kLarge - 1]);
  put("large", large);
  std::string small = support::read_file(tree / "small/f3");
  small[0] = static_cast<char>(~small[0]);
  put("small/f3", small);
  EXPECT_EQ(verify(mount).exit_code, 0) << "what is here is what was fetched";
  CommandResult run = verify(mount, {"--remote"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("/large: differs from the source; fetched again\n"));
  EXPECT_THAT(run.out, HasSubstr("/small/f3: differs from the source; fetched again\n"));
  EXPECT_THAT(run.out, HasSubstr("39 files, "));
  EXPECT_THAT(run.out, HasSubstr("2 differ"));
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "large").bytes == large; }, seconds(10)));
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "small/f3").bytes == small; }, seconds(10)));
  run = verify(mount, {"--remote"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_THAT(run.out, HasSubstr("41 files, 3.1 MiB are as at the source"));
}

TEST_F(Verify, RemoteTakesInWhatIsNewFirst) {
  Mount mount(tree.mount_options({"poll=off"}));
  fetch(mount);
  ASSERT_TRUE(wait_for_tree(mount));
  support::write_file(tree / "small/f5", "another version");
  const CommandResult run = verify(mount, {"--remote"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("40 files, "));
  EXPECT_THAT(run.out, HasSubstr("1 not here"));
  EXPECT_EQ(read_whole(mount / "small/f5").bytes, "another version");
}

TEST_F(Verify, RemoteSaysThatTheSourceIsAway) {
  Mount mount(tree.mount_options({"timeout=2", "contimeout=1"}));
  fetch(mount);
  tree.server().stop();
  const CommandResult run = verify(mount, {"--remote"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("nothing was compared: "));
  EXPECT_EQ(verify(mount).exit_code, 0) << "what is here can be read";
}

TEST(VerifyUnsent, WhatUsersChangedIsReadAndALossIsTold) {
  WritableMount rig;
  const std::string contents = support::random_bytes(kLarge, 5);
  support::write_file(rig.tree() / "theirs", contents);
  ASSERT_EQ(rig.mount_again(), "");
  ASSERT_TRUE(wait_for_tree(rig.mount()));
  rig.tree().server().stop();
  support::write_file(rig / "mine", contents);
  CommandResult run = rig.mount().command({"verify", rig.path()});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "1 file, 3.0 MiB checked; nothing is damaged\n");
  // Nothing else lies in a block file.
  const std::vector<std::string> stored = stored_files(rig.mount(), "blocks");
  ASSERT_EQ(stored.size(), 1U);
  ASSERT_EQ(truncate(stored[0].c_str(), kLarge / 2), 0);
  run = rig.mount().command({"verify", rig.path()});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, ContainsRegex("/mine: lost: .*\n.*; 1 file is lost\n"));
  EXPECT_TRUE(std::filesystem::exists(rig / "mine")) << "nothing is taken away for it";
  // As it was: otherwise the mount has something that it cannot send.
  support::write_file(rig / "mine", contents);
  rig.tree().server().start();
  EXPECT_EQ(rig.flush(), "");
  EXPECT_TRUE(support::read_file(rig.tree() / "mine") == contents);
}

}  // namespace
}  // namespace rsyncfs::mount_tests
