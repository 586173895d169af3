// SPDX-License-Identifier: GPL-3.0-or-later
// Who has a file open that the source replaced meanwhile, and writes: both versions are there then, everywhere.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/mount/writable_mount.h"
#include "tests/support/torture_tree.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr size_t kBytes = 300'000;

class LateWrite : public ::testing::Test {
 protected:
  void SetUp() override {
    support::write_file(mounted_.served() + "/file", old_bytes_);
    ASSERT_EQ(mounted_.mount_again(), "");
    ASSERT_TRUE(wait_for_tree(mounted_.mount()));
    fd_ = ::open((mounted_ / "file").c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd_, 0);
    ASSERT_TRUE(read_whole(mounted_ / "file").bytes == old_bytes_);
  }
  void TearDown() override {
    if (fd_ >= 0) ::close(fd_);
  }
  void replace_at_the_source() {
    support::write_file(mounted_.served() + "/file.new", new_bytes_);
    ASSERT_EQ(rename((mounted_.served() + "/file.new").c_str(), (mounted_.served() + "/file").c_str()), 0);
    const CommandResult refreshed = mounted_.mount().command({"refresh", mounted_.path()});
    ASSERT_EQ(refreshed.exit_code, 0) << refreshed.err;
    ASSERT_TRUE(read_whole(mounted_ / "file").bytes == new_bytes_);
  }
  static std::vector<std::string> conflicts_in(const std::string& directory) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      const std::string name = entry.path().filename();
      if (name.starts_with("file.conflict-")) found.push_back(name);
    }
    return found;
  }
  void expect_both(const std::string& written) {
    EXPECT_EQ(mounted_.flush(), "");
    EXPECT_EQ(mounted_.differences(), "");
    EXPECT_TRUE(read_whole(mounted_ / "file").bytes == new_bytes_);
    const std::vector<std::string> conflicts = conflicts_in(mounted_.served());
    ASSERT_EQ(conflicts.size(), 1U);
    EXPECT_TRUE(read_whole(mounted_.served() + "/" + conflicts[0]).bytes == written);
    const CommandResult listed = mounted_.mount().command({"conflicts", mounted_.path()});
    EXPECT_THAT(listed.out, ::testing::HasSubstr(conflicts[0]));
  }

  const std::string old_bytes_ = support::random_bytes(kBytes, 1);
  const std::string new_bytes_ = support::random_bytes(kBytes + 1000, 2);
  WritableMount mounted_;
  int fd_ = -1;
};

TEST_F(LateWrite, ByADescriptorIsBesideTheNewVersion) {
  replace_at_the_source();
  ASSERT_EQ(::pwrite(fd_, "mine", 4, 1000), 4);
  expect_both(std::string(old_bytes_).replace(1000, 4, "mine"));
}

TEST_F(LateWrite, ByAMapIsBesideTheNewVersion) {
  void* map = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  ASSERT_NE(map, MAP_FAILED);
  replace_at_the_source();
  std::copy_n("mine", 4, static_cast<char*>(map) + 1000);
  EXPECT_EQ(::msync(map, kBytes, MS_SYNC), 0);
  ::munmap(map, kBytes);
  expect_both(std::string(old_bytes_).replace(1000, 4, "mine"));
}

TEST_F(LateWrite, SurvivesADaemonThatIsKilled) {
  replace_at_the_source();
  ASSERT_EQ(::pwrite(fd_, "mine", 4, 1000), 4);
  ::close(fd_);
  fd_ = -1;
  mounted_.mount().kill9();
  ASSERT_EQ(mounted_.mount_again(), "");
  expect_both(std::string(old_bytes_).replace(1000, 4, "mine"));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
