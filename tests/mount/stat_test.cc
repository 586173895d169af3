// SPDX-License-Identifier: GPL-3.0-or-later
// System calls on the mount that a comparison of trees does not make.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::HasSubstr;

struct stat stat_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(lstat(path.c_str(), &info), 0) << path << ": " << std::strerror(errno);
  return info;
}

// errno of a call that fails, 0 of one that does not.
template <class Call>
int error_of(Call call) {
  errno = 0;
  return call() == -1 ? errno : 0;
}

TEST(ReadOnly, NothingCanBeChangedAndThisIsSaid) {
  ServedTree tree;
  support::write_file(tree / "file", "x");
  support::make_dirs(tree / "dir");
  Mount mount(tree.mount_options({"ro"}));
  const std::string file = mount / "file";
  const std::string made = mount / "made";
  EXPECT_EQ(error_of([&] { return open(file.c_str(), O_WRONLY); }), EROFS);
  EXPECT_EQ(error_of([&] { return open(file.c_str(), O_RDWR); }), EROFS);
  EXPECT_EQ(error_of([&] { return open(made.c_str(), O_WRONLY | O_CREAT, 0644); }), EROFS);
  EXPECT_EQ(error_of([&] { return truncate(file.c_str(), 0); }), EROFS);
  EXPECT_EQ(error_of([&] { return chmod(file.c_str(), 0600); }), EROFS);
  EXPECT_EQ(error_of([&] { return lchown(file.c_str(), 1, 1); }), EROFS);
  EXPECT_EQ(error_of([&] { return utimensat(AT_FDCWD, file.c_str(), nullptr, 0); }), EROFS);
  EXPECT_EQ(error_of([&] { return unlink(file.c_str()); }), EROFS);
  EXPECT_EQ(error_of([&] { return rename(file.c_str(), made.c_str()); }), EROFS);
  EXPECT_EQ(error_of([&] { return link(file.c_str(), made.c_str()); }), EROFS);
  EXPECT_EQ(error_of([&] { return symlink("x", made.c_str()); }), EROFS);
  EXPECT_EQ(error_of([&] { return mkdir(made.c_str(), 0755); }), EROFS);
  EXPECT_EQ(error_of([&] { return rmdir((mount / "dir").c_str()); }), EROFS);
  EXPECT_EQ(error_of([&] { return mkfifo(made.c_str(), 0644); }), EROFS);
  EXPECT_EQ(error_of([&] { return lsetxattr(file.c_str(), "user.a", "b", 1, 0); }), EROFS);
  EXPECT_EQ(error_of([&] { return lremovexattr(file.c_str(), "user.a"); }), EROFS);
  EXPECT_EQ(error_of([&] { return access(file.c_str(), W_OK); }), EROFS);
  EXPECT_EQ(support::read_file(tree / "file"), "x");
}

TEST(MountTable, SaysWhatIsMountedHow) {
  ServedTree tree;
  Mount mount(tree.mount_options({"ro"}));
  std::ifstream table("/proc/self/mountinfo");
  std::string found;
  for (std::string line; std::getline(table, line);) {
    if (line.find(" " + mount.path() + " ") != std::string::npos) found = line;
  }
  EXPECT_THAT(found, HasSubstr(" fuse.rsyncfs " + tree.server().url() + " "));
  EXPECT_THAT(found, ::testing::ContainsRegex(" ro,nosuid,nodev"));
}

TEST(Statfs, AnswersAtOnceEvenWithoutAServer) {
  ServedTree tree;
  Mount mount(tree.mount_options({"ro"}));
  tree.server().pause();
  const CommandResult df = support::run_command({"df", mount.path()}, seconds(5));
  EXPECT_EQ(df.exit_code, 0) << df.err;
  struct statvfs info {};
  ASSERT_EQ(statvfs(mount.path().c_str(), &info), 0);
  EXPECT_GE(info.f_namemax, 255U);
  EXPECT_NE(info.f_flag & ST_RDONLY, 0U);
}

TEST(Xattr, StateOfAFileFollowsItsContents) {
  ServedTree tree;
  support::write_file(tree / "file", "some bytes");
  support::write_file(tree / "empty", "");
  ASSERT_EQ(lsetxattr((tree / "file").c_str(), "user.own", "mine", 4, 0), 0);
  Mount mount(tree.mount_options());
  EXPECT_EQ(state_of(mount / "file"), "remote");
  EXPECT_EQ(read_whole(mount / "file").bytes, "some bytes");
  EXPECT_TRUE(wait_until([&] { return state_of(mount / "file") == "cached"; }, seconds(5)));
  std::array<char, 16> value;
  EXPECT_EQ(lgetxattr((mount / "file").c_str(), "user.own", value.data(), value.size()), 4);
  EXPECT_EQ(error_of([&] { return lgetxattr((mount / "file").c_str(), "user.none", nullptr, 0); }), ENODATA);
  EXPECT_EQ(error_of([&] { return lgetxattr((mount / "file").c_str(), "user.own", value.data(), 2); }),
            ERANGE);
}

TEST(Xattr, LongValuesAreFetchedWhenAskedFor) {
  ServedTree tree;
  support::write_file(tree / "file", "x");
  const std::string value = support::random_bytes(3000, 9);
  ASSERT_EQ(lsetxattr((tree / "file").c_str(), "user.long", value.data(), value.size(), 0), 0);
  Mount mount(tree.mount_options());
  std::string got(4000, '\0');
  for (int round = 0; round < 2; ++round) {
    const ssize_t size = lgetxattr((mount / "file").c_str(), "user.long", got.data(), got.size());
    ASSERT_EQ(size, 3000) << std::strerror(errno);
    EXPECT_EQ(got.substr(0, 3000), value);
  }
  EXPECT_EQ(state_of(mount / "file"), "remote") << "its contents were not needed";
}

TEST(Xattr, AreNotAskedForWithNoxattrs) {
  ServedTree tree;
  support::write_file(tree / "file", "x");
  ASSERT_EQ(lsetxattr((tree / "file").c_str(), "user.own", "mine", 4, 0), 0);
  Mount mount(tree.mount_options({"noxattrs"}));
  EXPECT_NE(error_of([&] { return lgetxattr((mount / "file").c_str(), "user.own", nullptr, 0); }), 0);
  EXPECT_EQ(read_whole(mount / "file").bytes, "x");
}

TEST(Holes, AreSeenBySeek) {
  ServedTree tree;
  constexpr off_t kMark = 40 << 20;
  support::make_sparse_file(tree / "file", 64U << 20, std::string(100000, 'd'), kMark);
  Mount mount(tree.mount_options());
  const int fd = open((mount / "file").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(support::compare_trees(tree.path(), mount.path()), std::vector<std::string>{});
  ASSERT_TRUE(wait_until([&] { return state_of(mount / "file") == "cached"; }, seconds(10)));
  const off_t data = lseek(fd, 0, SEEK_DATA);
  EXPECT_GT(data, kMark - (1 << 20)) << "where data begins";
  EXPECT_LE(data, kMark);
  const off_t hole = lseek(fd, kMark, SEEK_HOLE);
  EXPECT_GE(hole, kMark + 100000);
  EXPECT_LT(hole, kMark + (2 << 20));
  EXPECT_EQ(lseek(fd, 0, SEEK_HOLE), 0);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 64 << 20);
  EXPECT_EQ(error_of([&] { return lseek(fd, 64 << 20, SEEK_DATA); }), ENXIO);
  close(fd);
}

TEST(HardLinks, AreOneInode) {
  ServedTree tree;
  support::make_dirs(tree / "a");
  support::make_dirs(tree / "b");
  support::write_file(tree / "a/one", "linked");
  ASSERT_EQ(link((tree / "a/one").c_str(), (tree / "b/two").c_str()), 0);
  Mount mount(tree.mount_options());
  ASSERT_TRUE(wait_for_tree(mount));
  const struct stat one = stat_of(mount / "a/one");
  const struct stat two = stat_of(mount / "b/two");
  EXPECT_EQ(one.st_ino, two.st_ino);
  EXPECT_EQ(one.st_nlink, 2U);
  EXPECT_EQ(two.st_nlink, 2U);
  EXPECT_EQ(read_whole(mount / "a/one").bytes, "linked");
  EXPECT_EQ(read_whole(mount / "b/two").bytes, "linked");
  EXPECT_EQ(files_fetched(mount), 1) << "one fetch for both names";
}

TEST(Mapping, ReadsThroughMmap) {
  ServedTree tree;
  const std::string bytes = support::random_bytes(5000001, 3);
  support::write_file(tree / "file", bytes);
  Mount mount(tree.mount_options());
  const int fd = open((mount / "file").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  void* map = mmap(nullptr, bytes.size(), PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(map, MAP_FAILED) << std::strerror(errno);
  EXPECT_EQ(std::memcmp(map, bytes.data(), bytes.size()), 0);
  munmap(map, bytes.size());
  close(fd);
}

TEST(Directory, CanBeReadInPiecesAndFromWithin) {
  ServedTree tree;
  support::make_many_files(tree.path(), 1, 3000, 0);
  Mount mount(tree.mount_options());
  DIR* dir = opendir((mount / "d000").c_str());
  ASSERT_NE(dir, nullptr);
  std::vector<std::pair<long, std::string>> seen;  // the position before a name, and the name
  for (long at = telldir(dir); const dirent* entry = readdir(dir); at = telldir(dir)) {
    seen.emplace_back(at, entry->d_name);
  }
  std::set<std::string> names;
  for (const auto& [at, name] : seen) names.insert(name);
  EXPECT_EQ(seen.size(), 3002U) << "with . and ..";
  EXPECT_EQ(names.size(), seen.size()) << "a name came twice";
  for (const size_t i : {size_t{2999}, size_t{0}, size_t{1}, size_t{1500}, size_t{700}}) {
    seekdir(dir, seen[i].first);
    const dirent* entry = readdir(dir);
    ASSERT_NE(entry, nullptr) << i;
    EXPECT_EQ(entry->d_name, seen[i].second) << i;
  }
  rewinddir(dir);
  const dirent* first = readdir(dir);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->d_name, seen[0].second);
  closedir(dir);
}

TEST(Lookup, OfWhatIsNotThere) {
  ServedTree tree;
  support::write_file(tree / "file", "x");
  Mount mount(tree.mount_options());
  struct stat info {};
  EXPECT_EQ(error_of([&] { return lstat((mount / "none").c_str(), &info); }), ENOENT);
  EXPECT_EQ(error_of([&] { return lstat((mount / "file/none").c_str(), &info); }), ENOTDIR);
  EXPECT_EQ(error_of([&] { return lstat((mount / std::string(1025, 'n')).c_str(), &info); }), ENAMETOOLONG);
  EXPECT_EQ(error_of([&] { return open((mount / "none").c_str(), O_RDONLY); }), ENOENT);
  EXPECT_EQ(error_of([&] { return open((mount / "file").c_str(), O_RDONLY | O_DIRECTORY); }), ENOTDIR);
}

TEST(Filters, HideWhatTheyExclude) {
  ServedTree tree;
  for (const char* name : {"a.c", "a.o", "keep.o"}) support::write_file(tree / name, name);
  Mount mount(tree.mount_options({"include=keep.o", "exclude=*.o"}));
  EXPECT_EQ(list_names(mount.path()).bytes, "a.c\nkeep.o\n");
  EXPECT_EQ(read_whole(mount / "keep.o").bytes, "keep.o");
}

TEST(SourcePath, BelowAModuleBecomesTheRoot) {
  ServedTree tree;
  support::make_dirs(tree / "a/b with space/c");
  support::write_file(tree / "a/b with space/c/file", "deep");
  support::write_file(tree / "a/outside", "x");
  MountOptions options = tree.mount_options();
  options.source = tree.server().url("m", "a/b with space");
  Mount mount(options);
  EXPECT_EQ(support::join_lines(support::compare_trees(tree / "a/b with space", mount.path())), "");
}

}  // namespace
}  // namespace rsyncfs::mount_tests
