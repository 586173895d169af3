// SPDX-License-Identifier: GPL-3.0-or-later
// profile=large with a source: files that the kernel reads by itself are pushed and refreshed as all others.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "tests/mount/writable_mount.h"
#include "tests/support/torture_tree.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr size_t kBytes = 3 << 20;

class LargeProfile : public ::testing::Test {
 protected:
  void SetUp() override {
    support::write_file(mounted_.served() + "/file", bytes_);
    ASSERT_EQ(mounted_.mount_again(), "");
    if (mounted_.mount().status_json().find("profile passthrough") == std::string::npos)
      GTEST_SKIP() << "needs a kernel with FUSE_PASSTHROUGH, and CAP_SYS_ADMIN";
    ASSERT_TRUE(wait_for_tree(mounted_.mount()));
    ASSERT_EQ(mounted_.mount().command({"fetch", mounted_ / "file"}).exit_code, 0);
    ASSERT_TRUE(wait_until([this] { return is_lent_now(); }, seconds(20)));
  }
  void TearDown() override {
    if (reader_ >= 0) ::close(reader_);
  }
  // Opened by reader_ from then on.
  bool is_lent_now() {
    reader_ = ::open((mounted_ / "file").c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_TRUE(seen() == bytes_);
    if (mounted_.mount().status_json().find("passthrough (1 files") != std::string::npos) return true;
    ::close(reader_);
    reader_ = -1;
    return false;
  }
  std::string seen() const {
    std::string out(2 * kBytes, '\0');
    const ssize_t got = ::pread(reader_, out.data(), out.size(), 0);
    out.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return out;
  }
  void write_here(const std::string& text, size_t offset) {
    const int writer = ::open((mounted_ / "file").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(writer, 0);
    ASSERT_EQ(::pwrite(writer, text.data(), text.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(text.size()));
    ::close(writer);
    if (bytes_.size() < offset + text.size()) bytes_.resize(offset + text.size());
    bytes_.replace(offset, text.size(), text);
  }

  std::string bytes_ = support::random_bytes(kBytes, 1);
  WritableMount mounted_{{"profile=large"}};
  int reader_ = -1;
};

TEST_F(LargeProfile, WhatIsWrittenBesideAReaderReachesTheSource) {
  for (int round = 0; round < 3; ++round) {
    write_here("round " + std::to_string(round), 1'000'000 + 4 * static_cast<size_t>(round));
    write_here("at the end", bytes_.size());
    EXPECT_TRUE(seen() == bytes_);
    EXPECT_EQ(mounted_.flush(), "");
    EXPECT_TRUE(read_whole(mounted_.served() + "/file").bytes == bytes_);
    EXPECT_TRUE(seen() == bytes_);
  }
  EXPECT_EQ(mounted_.differences(), "");
  EXPECT_EQ(mounted_.mount().command({"verify", mounted_.path()}).exit_code, 0);
}

TEST_F(LargeProfile, AReaderSeesTheGrowthOfALog) {
  for (const char* line : {"a line\n", "another line\n"}) {
    bytes_ += line;
    std::ofstream(mounted_.served() + "/file", std::ios::app | std::ios::binary) << line;
    ASSERT_EQ(mounted_.mount().command({"refresh", mounted_.path()}).exit_code, 0);
    EXPECT_TRUE(wait_until([this] { return seen() == bytes_; }, seconds(20)));
  }
  EXPECT_EQ(mounted_.mount().command({"verify", mounted_.path()}).exit_code, 0);
}

TEST_F(LargeProfile, RoomIsNotMadeOfWhatIsOpen) {
  const CommandResult kept = mounted_.mount().command({"free", mounted_.path()});
  EXPECT_THAT(kept.out, ::testing::HasSubstr("1 in use"));
  EXPECT_TRUE(seen() == bytes_);
  ::close(reader_);
  reader_ = -1;
  EXPECT_TRUE(wait_until(
      [this] {
        static_cast<void>(mounted_.mount().command({"free", mounted_.path()}));
        return state_of(mounted_ / "file") == "remote";
      },
      seconds(20)));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
