// SPDX-License-Identifier: GPL-3.0-or-later
// What was fetched is not fetched again: not by a second read, not after a remount, a crash, or with the
// server gone.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "tests/mount/mount_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs::mount_tests {
namespace {

using support::compare_trees;
using support::join_lines;

class Cache : public ::testing::Test {
 protected:
  Cache() { support::make_many_files(tree.path(), 5, 40, 3000); }
  std::string differences(const Mount& mount) { return join_lines(compare_trees(tree.path(), mount.path())); }
  static constexpr size_t kFiles = 200;
  ServedTree tree;
};

// The kernel's own cache would answer a second read; it must come from the store. Of this mount only: other
// tests run beside this one, and some are about warm caches.
void drop_kernel_cache(const Mount& mount) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(mount.path())) {
    if (!entry.is_regular_file()) continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << entry.path();
    EXPECT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
  }
}

TEST_F(Cache, ASecondReadAsksTheServerForNothing) {
  Mount mount(tree.mount_options());
  ASSERT_TRUE(wait_for_tree(mount));
  ASSERT_EQ(differences(mount), "");
  ASSERT_EQ(files_fetched(mount), static_cast<int64_t>(kFiles));
  const size_t sent = tree.server().transfers().size();
  EXPECT_EQ(sent, kFiles) << "each file once";
  drop_kernel_cache(mount);
  const int64_t asked = mount.status_number("/requests/read");
  EXPECT_EQ(differences(mount), "");
  EXPECT_GE(mount.status_number("/requests/read"), asked + static_cast<int64_t>(kFiles))
      << "the kernel answered, not the store";
  EXPECT_EQ(tree.server().transfers().size(), sent);
  EXPECT_EQ(files_fetched(mount), static_cast<int64_t>(kFiles));
}

TEST_F(Cache, AReadAfterARemountAsksForAListOnly) {
  Mount mount(tree.mount_options());
  ASSERT_EQ(differences(mount), "");
  const size_t sent = tree.server().transfers().size();
  mount.unmount();
  mount.remount();
  EXPECT_EQ(state_of(mount / "d000/f0000"), "cached");
  EXPECT_EQ(differences(mount), "");
  ASSERT_TRUE(wait_for_tree(mount));
  EXPECT_EQ(tree.server().transfers().size(), sent);
  EXPECT_EQ(files_fetched(mount), 0);
  EXPECT_GE(mount.status_number("/totals/lists_received"), 1);
}

TEST_F(Cache, AKilledDaemonLosesNothingThatWasRead) {
  Mount mount(tree.mount_options());
  ASSERT_EQ(differences(mount), "");
  const size_t sent = tree.server().transfers().size();
  // Storing what was read takes a moment, and its end shows.
  EXPECT_TRUE(wait_until([&] { return mount.status_number("/cache/files") == static_cast<int64_t>(kFiles); },
                         seconds(30)));
  mount.kill9();
  tree.server().stop();
  mount.remount();
  EXPECT_EQ(differences(mount), "") << "with the server switched off";
  EXPECT_NE(mount.status_text("/link/state"), "up");
  tree.server().start();
  EXPECT_TRUE(wait_until([&] { return mount.status_text("/link/state") == "up"; }, seconds(60)));
  EXPECT_EQ(differences(mount), "");
  EXPECT_EQ(tree.server().transfers().size(), sent);
}

TEST_F(Cache, KilledAtRandomMomentsWhileReading) {
  const auto seed = static_cast<unsigned>(support::test_seed());
  Mount mount(tree.mount_options(), false);
  constexpr int kRounds = 6;
  for (int round = 0; round < kRounds; ++round) {
    mount.remount();
    support::ChildProcess reader({"bash", "-c", "cat \"$0\"/*/* >/dev/null", mount.path()});
    reader.wait_for(milliseconds((seed >> (round * 4)) % 160));
    mount.kill9();
    reader.kill9();
  }
  mount.remount();
  EXPECT_EQ(differences(mount), "");
}

TEST_F(Cache, StartsOfflineWithItsStoreAndSaysWhatItLacks) {
  Mount mount(tree.mount_options({"timeout=3", "contimeout=2"}));
  ASSERT_TRUE(wait_for_tree(mount));
  ASSERT_TRUE(read_whole(mount / "d000/f0000").ok);
  mount.unmount();
  tree.server().stop();
  mount.remount();
  EXPECT_EQ(read_whole(mount / "d000/f0000").bytes, support::read_file(tree / "d000/f0000"));
  EXPECT_TRUE(list_names(mount / "d003").ok) << "names of the whole tree are stored";
  EXPECT_THAT(read_whole(mount / "d003/f0003"), GaveUpWaiting());
  tree.server().start();
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "d003/f0003").ok; }, seconds(60))) << mount.log();
}

TEST_F(Cache, InodeNumbersAreStableOverRemounts) {
  const std::string list = " && find . -printf '%i %p\\n' | LC_ALL=C sort";
  Mount mount(tree.mount_options());
  const std::string before = support::run_shell("cd '" + mount.path() + "'" + list);
  mount.unmount();
  mount.remount();
  EXPECT_EQ(support::run_shell("cd '" + mount.path() + "'" + list), before);
  mount.kill9();
  mount.remount();
  EXPECT_EQ(support::run_shell("cd '" + mount.path() + "'" + list), before);
}

TEST_F(Cache, AChangedFileIsFetchedAgainAfterARemountAndOnlyThat) {
  Mount mount(tree.mount_options());
  ASSERT_EQ(differences(mount), "");
  mount.unmount();
  const size_t sent = tree.server().transfers().size();
  support::write_file(tree / "d001/f0001", "new contents of another size");
  support::set_mtime(tree / "d001/f0001", 1000000000, 5);
  support::write_file(tree / "d002/added", "added");
  support::run_shell("rm '" + (tree / "d003/f0007") + "'");
  mount.remount();
  ASSERT_TRUE(wait_for_tree(mount));
  EXPECT_EQ(differences(mount), "");
  std::vector<std::string> transfers = tree.server().transfers();
  transfers.erase(transfers.begin(), transfers.begin() + static_cast<ptrdiff_t>(sent));
  EXPECT_THAT(transfers, ::testing::UnorderedElementsAre("d001/f0001", "d002/added"));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
