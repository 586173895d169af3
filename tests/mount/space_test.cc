// SPDX-License-Identifier: GPL-3.0-or-later
// How much disk a mount takes, what stays on it, and the commands that decide about it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

// What the slabs and block files of the only store of a mount take now.
uint64_t allocated(const Mount& mount) {
  uint64_t sum = 0;
  std::error_code failure;
  for (std::filesystem::recursive_directory_iterator entry(mount.state_dir(), failure), end;
       !failure && entry != end; entry.increment(failure)) {
    const std::string path = entry->path();
    if (path.find("/slabs/") == std::string::npos && path.find("/blocks/") == std::string::npos) continue;
    struct stat status {};
    if (stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode))
      sum += static_cast<uint64_t>(status.st_blocks) * 512;
  }
  return sum;
}

class Space : public ::testing::Test {
 protected:
  Space() {
    support::make_many_files(tree.path(), 4, 20, 40'000);
    support::write_file(tree / "large", support::random_bytes(3 * kMiB, 1));
  }
  static DaemonOptions writable() {
    DaemonOptions options = RsyncDaemon::serving("");
    options.modules[0].read_only = false;
    return options;
  }
  static bool becomes(const std::string& path, const std::string& state) {
    return wait_until([&] { return state_of(path) == state; }, seconds(30));
  }
  ServedTree tree{writable()};
};

TEST_F(Space, FreeGivesTheDiskBackAndSaysWhatStays) {
  Mount mount(tree.mount_options({"writeback_delay=600"}));
  ASSERT_EQ(mount.command({"fetch", mount.path()}).exit_code, 0);
  const uint64_t before = allocated(mount);
  ASSERT_GT(before, 5 * kMiB);
  support::write_file(mount / "d000/f0000", "changed");
  support::write_file(mount / "new", "new");
  const CommandResult some = mount.command({"free", mount / "d001", mount / "large"});
  EXPECT_EQ(some.exit_code, 0) << some.err;
  EXPECT_THAT(some.out, HasSubstr("21 files"));
  EXPECT_LT(allocated(mount), before - 3 * kMiB);
  EXPECT_EQ(state_of(mount / "large"), "remote");
  EXPECT_EQ(state_of(mount / "d001/f0001"), "remote");
  EXPECT_EQ(state_of(mount / "d002/f0001"), "cached");
  const CommandResult all = mount.command({"free", mount.path()});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(all.out, HasSubstr("2 not on the source yet"));
  EXPECT_EQ(state_of(mount / "d000/f0000"), "dirty");
  EXPECT_EQ(support::read_file(mount / "d000/f0000"), "changed");
  EXPECT_EQ(read_whole(mount / "large").bytes, support::read_file(tree / "large"));
  EXPECT_EQ(mount.command({"free", mount / "none"}).exit_code, 1);
}

TEST_F(Space, WhatIsMappedStays) {
  Mount mount(tree.mount_options());
  ASSERT_EQ(mount.command({"fetch", mount / "large"}).exit_code, 0);
  const int fd = open((mount / "large").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  void* const map = mmap(nullptr, 3 * kMiB, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  ASSERT_NE(map, MAP_FAILED);
  const CommandResult kept = mount.command({"free", mount / "large"});
  EXPECT_THAT(kept.out, HasSubstr("1 in use"));
  EXPECT_EQ(state_of(mount / "large"), "cached");
  munmap(map, 3 * kMiB);
  EXPECT_TRUE(wait_until(
      [&] {
        static_cast<void>(mount.command({"free", mount / "large"}));
        return state_of(mount / "large") == "remote";
      },
      seconds(20)));
}

TEST_F(Space, PinnedTreesStayHereAndAreKeptCurrent) {
  Mount mount(tree.mount_options());
  const CommandResult pinned = mount.command({"pin", mount / "d001", mount / "large"});
  EXPECT_EQ(pinned.exit_code, 0) << pinned.err;
  EXPECT_EQ(state_of(mount / "d001/f0003"), "pinned");
  EXPECT_EQ(state_of(mount / "d001"), "pinned");
  EXPECT_EQ(state_of(mount / "large"), "pinned");
  EXPECT_EQ(state_of(mount / "d002/f0001"), "remote");
  EXPECT_EQ(mount.status_number("/cache/pins"), 2);
  EXPECT_THAT(mount.command({"info", mount / "d001/f0003"}).out, HasSubstr("pinned"));
  EXPECT_THAT(mount.command({"info", "--json", mount / "d001/f0003"}).out, HasSubstr("\"pinned\":true"));
  EXPECT_THAT(mount.command({"free", mount.path()}).out, HasSubstr("21 pinned"));

  // Over a remount, and with what came meanwhile.
  mount.unmount();
  support::write_file(tree / "d001/f0003", "another version");
  support::make_dirs(tree / "d001/sub");
  support::write_file(tree / "d001/sub/new", "new");
  mount.remount();
  EXPECT_TRUE(becomes(mount / "d001/f0003", "pinned")) << mount.log();
  EXPECT_TRUE(becomes(mount / "d001/sub/new", "pinned")) << mount.log();
  // And with what comes while it is mounted.
  support::write_file(tree / "d001/sub/later", "later");
  support::write_file(tree / "large", support::random_bytes(2 * kMiB, 2));
  tree.server().drop_connections();
  EXPECT_TRUE(becomes(mount / "d001/sub/later", "pinned")) << mount.log();
  EXPECT_TRUE(becomes(mount / "large", "pinned")) << mount.log();
  tree.server().stop();
  EXPECT_EQ(read_whole(mount / "d001/sub/later").bytes, "later");
  EXPECT_EQ(read_whole(mount / "large").bytes, support::read_file(tree / "large"));

  EXPECT_EQ(mount.command({"unpin", mount / "d001/sub"}).exit_code, 1) << "the pin is above it";
  EXPECT_EQ(mount.command({"unpin", mount.path()}).exit_code, 0);
  EXPECT_EQ(state_of(mount / "large"), "cached");
  EXPECT_EQ(mount.status_number("/cache/pins"), 0);
}

TEST_F(Space, CacheSizeIsKeptWhileMoreIsRead) {
  constexpr uint64_t kLimit = 16 * kMiB;
  for (uint64_t i = 0; i < 30; ++i)
    support::write_file(tree / ("file" + std::to_string(i)), support::random_bytes(900'000 + i * 100'000, i));
  support::write_file(tree / "larger", support::random_bytes(40 * kMiB, 3));
  Mount mount(tree.mount_options({"cache_size=16M", "min_free=0"}));
  std::atomic<bool> over{false};
  std::atomic<uint64_t> most{0};
  std::thread watch([&] {
    while (!over) {
      most = std::max<uint64_t>(most, allocated(mount));
      std::this_thread::sleep_for(milliseconds(2));
    }
  });
  const auto differences = support::compare_trees(tree.path(), mount.path());
  const Reading again = read_whole(mount / "larger");
  over = true;
  watch.join();
  EXPECT_EQ(support::join_lines(differences), "");
  EXPECT_EQ(again.bytes, support::read_file(tree / "larger"));
  EXPECT_LE(most, kLimit + kLimit / 20);
  EXPECT_GT(most, kLimit / 2);
  EXPECT_EQ(mount.status_number("/cache/limit_bytes"), static_cast<int64_t>(kLimit));
  EXPECT_GT(mount.status_number("/cache/evicted_files"), 10);
  EXPECT_EQ(mount.command({"fetch", mount / "larger"}).exit_code, 1);
}

// What is mapped of a file that was cut short cannot be read, just as what is on a bad block.
TEST_F(Space, BytesThatTheDiskCannotReadComeFromTheSource) {
  Mount mount(tree.mount_options());
  ASSERT_EQ(mount.command({"fetch", mount / "large"}).exit_code, 0);
  ASSERT_EQ(read_head(mount / "large", 4096).bytes.size(), 4096U) << "the store's file is mapped from now on";
  size_t cut = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(mount.state_dir())) {
    if (entry.path().native().find("/blocks/") == std::string::npos || !entry.is_regular_file()) continue;
    std::filesystem::resize_file(entry.path(), 0);
    ++cut;
  }
  ASSERT_EQ(cut, 1U);
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "large").ok; }, seconds(20))) << mount.log();
  EXPECT_EQ(read_whole(mount / "large").bytes, support::read_file(tree / "large"));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
