// SPDX-License-Identifier: GPL-3.0-or-later
// Newer versions of files that are here: what is sent of them, and what those see who have them open.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

class Refresh : public OnEachEngine {
 protected:
  Refresh() {
    // Too large to be brought along with others.
    for (int i = 0; i < kProbes; ++i)
      support::make_sparse_file(tree / ("probe" + std::to_string(i)), kProbeBytes, "?", 0);
  }
  Mount& open() {
    mount.emplace(tree.mount_options({"io=" + GetParam()}));
    EXPECT_TRUE(wait_for_tree(*mount));
    return *mount;
  }
  // The directory is listed anew when a file of it turns out to be another version.
  void have_it_listed() {
    const std::string name = "probe" + std::to_string(next_probe++);
    ASSERT_LE(next_probe, kProbes);
    support::make_sparse_file(tree / name, kProbeBytes + 4096, "!", 0);
    read_head(*mount / name, 1);
  }
  void append(const std::string& name, const std::string& more) {
    std::ofstream out(tree / name, std::ios::app | std::ios::binary);
    out << more;
  }
  // tail -f prints each line that is added, from the descriptor that it opened.
  void follow(std::string contents) {
    support::write_file(tree / "log", contents);
    open();
    ASSERT_EQ(read_whole(*mount / "log").bytes, contents);
    struct stat before {};
    ASSERT_EQ(stat((*mount / "log").c_str(), &before), 0);
    support::ChildProcess tail({"tail", "-c", "+1", "-f", "-s", "0.1", *mount / "log"});
    ASSERT_TRUE(wait_until([&] { return tail.out() == contents; }, seconds(30))) << tail.err();
    for (int i = 0; i < 8; ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      append("log", line);
      contents += line;
      have_it_listed();
      ASSERT_TRUE(wait_until([&] { return tail.out().size() >= contents.size(); }, seconds(30)))
          << i << ": " << tail.out().size() << " of " << contents.size() << tail.err();
      ASSERT_TRUE(tail.out() == contents) << "after line " << i;
    }
    struct stat after {};
    ASSERT_EQ(stat((*mount / "log").c_str(), &after), 0);
    EXPECT_EQ(after.st_ino, before.st_ino);
    EXPECT_EQ(static_cast<uint64_t>(after.st_size), contents.size());
    EXPECT_EQ(read_whole(*mount / "log").bytes, contents);
    tail.signal(SIGTERM);
    EXPECT_TRUE(tail.wait_for(seconds(10)));
  }

  static constexpr int kProbes = 10;
  static constexpr uint64_t kProbeBytes = 1'100'000;
  int next_probe = 0;
  ServedTree tree;
  std::optional<Mount> mount;
};
INSTANTIATE_TEST_SUITE_P(Io, Refresh, ::testing::Values("uring", "threads"));

TEST_P(Refresh, TailFollowsASmallLog) {
  follow("the first line\n");
}

TEST_P(Refresh, TailFollowsALargeLog) {
  follow(support::random_bytes(2'100'000, 3));
}

TEST_P(Refresh, AnOpenFileKeepsItsVersionWhereALongerOneTakesItsName) {
  const std::string old_bytes = support::random_bytes(300'000, 1);
  support::write_file(tree / "file", old_bytes);
  open();
  const int fd = ::open((*mount / "file").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(read_whole(*mount / "file").bytes, old_bytes);
  const std::string new_bytes = support::random_bytes(400'000, 2);
  support::write_file(tree / "file.new", new_bytes);
  ASSERT_EQ(rename((tree / "file.new").c_str(), (tree / "file").c_str()), 0);
  have_it_listed();
  ASSERT_TRUE(wait_until([&] { return read_whole(*mount / "file").bytes == new_bytes; }, seconds(30)));
  std::string kept(old_bytes.size() + 1, '\0');
  ASSERT_EQ(pread(fd, kept.data(), kept.size(), 0), static_cast<ssize_t>(old_bytes.size()));
  kept.pop_back();
  EXPECT_TRUE(kept == old_bytes);
  close(fd);
}

TEST_P(Refresh, WhatDidNotChangeIsNotSent) {
  std::string bytes = support::random_bytes(24U << 20, 1);
  support::write_file(tree / "big", bytes);
  open();
  ASSERT_TRUE(read_whole(*mount / "big").bytes == bytes);
  ASSERT_TRUE(wait_until([&] { return state_of(*mount / "big") == "cached"; }, seconds(30)));
  bytes.replace(10'000'000, 4096, support::random_bytes(4096, 2));
  support::write_file(tree / "big", bytes);
  const auto traffic = [&] {
    return mount->status_number("/totals/bytes_in") + mount->status_number("/totals/bytes_out");
  };
  const int64_t before = traffic();
  have_it_listed();
  ASSERT_TRUE(wait_until([&] { return read_whole(*mount / "big").bytes == bytes; }, seconds(60)));
  EXPECT_LT(traffic() - before, 1'300'000) << "of 24 MiB; most of it is what had it listed";
}

}  // namespace
}  // namespace rsyncfs::mount_tests
