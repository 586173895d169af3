// SPDX-License-Identifier: GPL-3.0-or-later
// Changes through the kernel: what it asks of us, and what it shows afterwards.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/fs/mount_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/wait.h"

namespace rsyncfs::testing {
namespace {

using support::read_file;
using support::write_file;
using ::testing::ElementsAre;
constexpr uid_t kUser = 65534;

FrontOptions writable(OpenProfile profile = OpenProfile::kNoOpen) {
  FrontOptions options;
  options.read_only = false;
  options.allow_other = ::geteuid() == 0;
  options.suid = ::geteuid() == 0;
  options.profile = profile;
  return options;
}

std::set<std::string> names_in(const std::string& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

struct stat stat_of(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(::lstat(path.c_str(), &st), 0) << path << ": " << std::strerror(errno);
  return st;
}

class MountChangeTest : public ::testing::TestWithParam<OpenProfile>, public MountRig {
 protected:
  MountChangeTest() : MountRig(writable(GetParam())) { ::chmod(mountpoint.c_str(), 0755); }
  // `name` in the mount, as a C string for one call.
  std::string at(std::string_view name) const { return *this / name; }
};

TEST_P(MountChangeTest, ARemountShowsEveryChange) {
  write_file(at("file"), "hello");
  ASSERT_EQ(::mkdir(at("d").c_str(), 0750), 0);
  write_file(at("d/inside"), "text");
  ASSERT_EQ(::symlink("../file", at("d/link").c_str()), 0);
  ASSERT_EQ(::link(at("file").c_str(), at("d/hard").c_str()), 0);
  ASSERT_EQ(::rename(at("d").c_str(), at("e").c_str()), 0);
  ASSERT_EQ(::setxattr(at("file").c_str(), "user.x", "y", 1, 0), 0);
  ASSERT_EQ(::truncate(at("file").c_str(), 4), 0);
  const struct stat before = stat_of(at("file"));
  unmount();
  mount();
  EXPECT_THAT(names_in(path()), ElementsAre("e", "file"));
  EXPECT_THAT(names_in(at("e")), ElementsAre("hard", "inside", "link"));
  EXPECT_EQ(read_file(at("e/hard")), "hell");
  EXPECT_EQ(read_file(at("e/link")), "hell");
  EXPECT_EQ(stat_of(at("e")).st_mode & 07777, 0750U);
  const struct stat after = stat_of(at("file"));
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(after.st_nlink, 2U);
  EXPECT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
  EXPECT_EQ(after.st_ctim.tv_sec, before.st_ctim.tv_sec);
  char value = 0;
  EXPECT_EQ(::getxattr(at("file").c_str(), "user.x", &value, 1), 1);
}

// The kernel keeps listings and absent names; what went through it must change them.
TEST_P(MountChangeTest, ListingsAndAbsencesFollow) {
  ASSERT_EQ(::mkdir(at("d").c_str(), 0755), 0);
  std::set<std::string> expected;
  for (int round = 0; round < 5; ++round) {
    const std::string name = "f" + std::to_string(round);
    EXPECT_EQ(::access(at("d/" + name).c_str(), F_OK), -1);
    EXPECT_EQ(names_in(at("d")), expected);
    EXPECT_EQ(names_in(at("d")), expected);
    write_file(at("d/" + name), name);
    expected.insert(name);
    EXPECT_EQ(read_file(at("d/" + name)), name);
    EXPECT_EQ(names_in(at("d")), expected);
  }
  ASSERT_EQ(::rename(at("d/f0").c_str(), at("d/g").c_str()), 0);
  ASSERT_EQ(::unlink(at("d/f1").c_str()), 0);
  ASSERT_EQ(::rename(at("d/f2").c_str(), at("d/f3").c_str()), 0);
  EXPECT_THAT(names_in(at("d")), ElementsAre("f3", "f4", "g"));
  EXPECT_EQ(::access(at("d/f0").c_str(), F_OK), -1);
  EXPECT_EQ(read_file(at("d/f3")), "f2");
}

TEST_P(MountChangeTest, EveryNameOfAFileShowsItsLinks) {
  write_file(at("a"), "x");
  EXPECT_EQ(stat_of(at("a")).st_nlink, 1U);
  ASSERT_EQ(::link(at("a").c_str(), at("b").c_str()), 0);
  EXPECT_EQ(stat_of(at("a")).st_nlink, 2U);
  EXPECT_EQ(stat_of(at("b")).st_ino, stat_of(at("a")).st_ino);
  ASSERT_EQ(::link(at("b").c_str(), at("c").c_str()), 0);
  ASSERT_EQ(::unlink(at("a").c_str()), 0);
  EXPECT_EQ(stat_of(at("b")).st_nlink, 2U);
  EXPECT_EQ(stat_of(at("c")).st_nlink, 2U);
  ASSERT_EQ(::mkdir(at("d").c_str(), 0755), 0);
  EXPECT_EQ(stat_of(at("d")).st_nlink, 2U);
  ASSERT_EQ(::mkdir(at("d/below").c_str(), 0755), 0);
  EXPECT_EQ(stat_of(at("d")).st_nlink, 3U);
  ASSERT_EQ(::rmdir(at("d/below").c_str()), 0);
  EXPECT_EQ(stat_of(at("d")).st_nlink, 2U);
}

TEST_P(MountChangeTest, NamesAreExchanged) {
  write_file(at("file"), "text");
  ASSERT_EQ(::mkdir(at("directory").c_str(), 0755), 0);
  write_file(at("directory/inside"), "in");
  ASSERT_EQ(::renameat2(AT_FDCWD, at("file").c_str(), AT_FDCWD, at("directory").c_str(), RENAME_EXCHANGE), 0);
  EXPECT_EQ(read_file(at("directory")), "text");
  EXPECT_EQ(read_file(at("file/inside")), "in");
  EXPECT_EQ(::renameat2(AT_FDCWD, at("file").c_str(), AT_FDCWD, at("directory").c_str(), RENAME_NOREPLACE),
            -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(::renameat2(AT_FDCWD, at("file").c_str(), AT_FDCWD, at("x").c_str(), RENAME_WHITEOUT), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_P(MountChangeTest, WhatAMapWritesIsThere) {
  constexpr size_t kSize = 3 * 4096;
  write_file(at("file"), std::string(kSize, 'a'));
  UniqueFd file(::open(at("file").c_str(), O_RDWR));
  ASSERT_TRUE(file);
  void* map = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  std::memcpy(static_cast<char*>(map) + 5000, "MAPPED", 6);
  ASSERT_EQ(::msync(map, kSize, MS_SYNC), 0);
  char read_back[6];
  ASSERT_EQ(::pread(file.get(), read_back, 6, 5000), 6);
  EXPECT_EQ(std::string(read_back, 6), "MAPPED");
  ASSERT_EQ(::pwrite(file.get(), "WRITTEN", 7, 100), 7);
  EXPECT_EQ(std::memcmp(static_cast<char*>(map) + 100, "WRITTEN", 7), 0);
  ::munmap(map, kSize);
  file.reset();
  unmount();
  mount();
  std::string expected(kSize, 'a');
  expected.replace(5000, 6, "MAPPED");
  expected.replace(100, 7, "WRITTEN");
  EXPECT_EQ(read_file(at("file")), expected);
}

TEST_P(MountChangeTest, DirectWritesAndReads) {
  const UniqueFd file(::open(at("file").c_str(), O_RDWR | O_CREAT | O_DIRECT, 0644));
  ASSERT_TRUE(file) << std::strerror(errno);
  constexpr size_t kBlock = 4096;
  void* memory = std::aligned_alloc(kBlock, 2 * kBlock);
  std::memset(memory, 'd', 2 * kBlock);
  EXPECT_EQ(::pwrite(file.get(), memory, 2 * kBlock, kBlock), static_cast<ssize_t>(2 * kBlock));
  std::memset(memory, 0, 2 * kBlock);
  EXPECT_EQ(::pread(file.get(), memory, kBlock, kBlock), static_cast<ssize_t>(kBlock));
  EXPECT_EQ(std::string(static_cast<char*>(memory), kBlock), std::string(kBlock, 'd'));
  std::free(memory);
  EXPECT_EQ(read_file(at("file")), std::string(kBlock, '\0') + std::string(2 * kBlock, 'd'));
}

// One request for a write, and none before it that asks for capabilities.
TEST_P(MountChangeTest, AWriteIsOneRequest) {
  const UniqueFd file(::open(at("file").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644));
  ASSERT_TRUE(file);
  ASSERT_EQ(::write(file.get(), "first", 5), 5);
  const uint64_t questions = requests(FrontOp::kGetxattr) + requests(FrontOp::kGetattr);
  const uint64_t writes = requests(FrontOp::kWrite);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(::write(file.get(), "again", 5), 5);
  EXPECT_EQ(requests(FrontOp::kWrite), writes + 100);
  EXPECT_LE(requests(FrontOp::kGetxattr) + requests(FrontOp::kGetattr), questions + 1);
  EXPECT_EQ(stat_of(at("file")).st_size, 505);
}

TEST_P(MountChangeTest, OpeningTruncates) {
  write_file(at("file"), "a long text");
  EXPECT_EQ(read_file(at("file")), "a long text");
  write_file(at("file"), "short");
  EXPECT_EQ(read_file(at("file")), "short");
  EXPECT_EQ(stat_of(at("file")).st_size, 5);
}

TEST_P(MountChangeTest, SyncComesBack) {
  const UniqueFd file(::open(at("file").c_str(), O_WRONLY | O_CREAT, 0644));
  ASSERT_EQ(::write(file.get(), "x", 1), 1);
  EXPECT_EQ(::fsync(file.get()), 0) << std::strerror(errno);
  EXPECT_EQ(::fdatasync(file.get()), 0);
  const UniqueFd directory(::open(path().c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(::fsync(directory.get()), 0) << std::strerror(errno);
  EXPECT_EQ(requests(FrontOp::kFsync), 3U);
}

TEST_P(MountChangeTest, ARemovedFileWorksWhereItIsOpen) {
  const UniqueFd file(::open(at("file").c_str(), O_RDWR | O_CREAT, 0644));
  ASSERT_EQ(::write(file.get(), "before", 6), 6);
  ASSERT_EQ(::unlink(at("file").c_str()), 0);
  ASSERT_EQ(::write(file.get(), " after", 6), 6);
  char text[12];
  EXPECT_EQ(::pread(file.get(), text, sizeof text, 0), 12);
  EXPECT_EQ(std::string(text, 12), "before after");
  struct stat st {};
  ASSERT_EQ(::fstat(file.get(), &st), 0);
  EXPECT_EQ(st.st_nlink, 0U);
  EXPECT_EQ(st.st_size, 12);
  EXPECT_TRUE(names_in(path()).empty());
}

TEST_P(MountChangeTest, AFetchedFileIsReadAroundItsChange) {
  std::string content = support::random_bytes(200'000, 7);
  list(kRootNode, {file("remote", content.size(), 0666)});
  settle();
  syncer.on_read([content](NodeId) { return content; });
  UniqueFd file(::open(at("remote").c_str(), O_WRONLY));
  ASSERT_TRUE(file) << std::strerror(errno);
  ASSERT_EQ(::pwrite(file.get(), "CHANGED", 7, 100'000), 7);
  content.replace(100'000, 7, "CHANGED");
  EXPECT_EQ(read_file(at("remote")), content);
  ASSERT_EQ(::ftruncate(file.get(), 150'000), 0);
  ASSERT_EQ(::ftruncate(file.get(), 160'000), 0);
  content.resize(150'000);
  content.resize(160'000, '\0');
  EXPECT_EQ(read_file(at("remote")), content);
  file.reset();
  unmount();
  mount();
  EXPECT_EQ(read_file(at("remote")), content);
}

// ---- who may, and whose it is then ----

TEST_P(MountChangeTest, NewFilesAreTheUsersThatMakesThem) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  ASSERT_EQ(::mkdir(at("open").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(at("open").c_str(), 01777), 0);
  write_file(at("open/roots"), "x", 0644);
  Child child(kUser, [this] {
    ::umask(027);
    const int made = ::open(at("open/file").c_str(), O_WRONLY | O_CREAT, 0666);
    if (made < 0 || ::write(made, "mine", 4) != 4) return 1;
    if (::mkdir(at("open/d").c_str(), 0777) != 0) return 2;
    // What a sticky directory and the permissions forbid.
    if (::unlink(at("open/roots").c_str()) != -1 || errno != EPERM) return 3;
    if (::rename(at("open/roots").c_str(), at("open/r").c_str()) != -1 || errno != EPERM) return 4;
    if (::open(at("open/roots").c_str(), O_WRONLY) != -1 || errno != EACCES) return 5;
    if (::mkdir(at("elsewhere").c_str(), 0777) != -1 || errno != EACCES) return 6;
    if (::chown(at("open/file").c_str(), 0, static_cast<gid_t>(-1)) != -1 || errno != EPERM) return 7;
    if (::chmod(at("open/roots").c_str(), 0666) != -1 || errno != EPERM) return 8;
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
  const struct stat st = stat_of(at("open/file"));
  EXPECT_EQ(st.st_uid, kUser);
  EXPECT_EQ(st.st_gid, kUser);
  EXPECT_EQ(st.st_mode & 07777, 0640U);
  EXPECT_EQ(stat_of(at("open/d")).st_mode & 07777, 0750U);
}

TEST_P(MountChangeTest, SetIdBitsThatAWriterTakesAreSeenGone) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  write_file(at("program"), "x");
  ASSERT_EQ(::chmod(at("program").c_str(), 06777), 0);
  Child child(kUser, [this] {
    const int file = ::open(at("program").c_str(), O_WRONLY);
    return ::write(file, "y", 1) == 1 ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(stat_of(at("program")).st_mode & 07777, 0777U);
  ASSERT_EQ(::chmod(at("program").c_str(), 06777), 0);
  const UniqueFd file(::open(at("program").c_str(), O_WRONLY));
  ASSERT_EQ(::write(file.get(), "root's", 6), 6);
  EXPECT_EQ(stat_of(at("program")).st_mode & 07777, 06777U);
}

std::string profile_name(const ::testing::TestParamInfo<OpenProfile>& info) {
  return info.param == OpenProfile::kNoOpen ? "NoOpen" : "KeepCache";
}
INSTANTIATE_TEST_SUITE_P(Profiles, MountChangeTest,
                         ::testing::Values(OpenProfile::kNoOpen, OpenProfile::kKeepCache), profile_name);

}  // namespace
}  // namespace rsyncfs::testing
