// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernel shows of a hand-filled tree: everything that stat(2), readdir(3), lseek(2) and xattr(7) can
// tell.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fs/mount_rig.h"
#include "tests/support/child_process.h"
#include "tests/support/files.h"

namespace rsyncfs::testing {
namespace {

using support::read_file;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

struct stat lstat_of(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(::lstat(path.c_str(), &st), 0) << path << ": " << std::strerror(errno);
  return st;
}

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* open = ::opendir(path.c_str());
  EXPECT_NE(open, nullptr) << std::strerror(errno);
  if (open == nullptr) return names;
  while (const dirent* entry = ::readdir(open)) names.emplace_back(entry->d_name);
  ::closedir(open);
  return names;
}

std::string xattr_of(const std::string& path, const char* name) {
  std::array<char, 4096> buffer{};
  const ssize_t n = ::lgetxattr(path.c_str(), name, buffer.data(), buffer.size());
  return n < 0 ? "errno " + std::to_string(errno) : std::string(buffer.data(), static_cast<size_t>(n));
}

std::string acl_bytes(std::initializer_list<std::array<uint32_t, 3>> entries) {
  std::string bytes("\2\0\0\0", 4);
  for (const auto& [tag, permissions, id] : entries) {
    bytes.push_back(static_cast<char>(tag));
    bytes.push_back('\0');
    bytes.push_back(static_cast<char>(permissions));
    bytes.push_back('\0');
    for (const unsigned shift : {0U, 8U, 16U, 24U}) bytes.push_back(static_cast<char>(id >> shift));
  }
  return bytes;
}

constexpr uint32_t kNoId = UINT32_MAX;

FrontOptions for_everyone() {
  FrontOptions options;
  options.allow_other = true;
  return options;
}

class MountFidelityTest : public ::testing::Test, public MountRig {
 public:
  MountFidelityTest() : MountRig(for_everyone()) {}
};

TEST_F(MountFidelityTest, EveryTypeAndAttribute) {
  std::vector<Name> names;
  const std::vector<std::pair<std::string, uint32_t>> types{{"fifo", S_IFIFO}, {"socket", S_IFSOCK},
                                                            {"char", S_IFCHR}, {"block", S_IFBLK},
                                                            {"file", S_IFREG}, {"dir", S_IFDIR}};
  int64_t mtime = -100'000'000'000;
  for (const auto& [name, type] : types) {
    Name entry = file(name, 0, 0);
    entry.attr.mode = type | 04751;
    entry.attr.uid = 1000 + static_cast<uint32_t>(names.size());
    entry.attr.gid = 0xfffffffe;
    entry.attr.mtime_s = mtime;
    entry.attr.mtime_ns = 999'999'999;
    mtime += 60'000'000'000;
    if (type == S_IFCHR || type == S_IFBLK) {
      entry.attr.rdev_major = 4095;
      entry.attr.rdev_minor = 1'048'575;
    }
    if (type == S_IFREG) entry.attr.size = 1ULL << 42;
    if (type == S_IFDIR) entry.attr.size = 12288;
    names.push_back(entry);
  }
  names.push_back(symlink("link", std::string(4000, 'x')));
  const auto nodes = list(kRootNode, names);
  settle();
  for (const Name& name : names) {
    SCOPED_TRACE(name.name);
    const struct stat st = lstat_of(*this / name.name);
    EXPECT_EQ(st.st_mode, name.attr.mode);
    EXPECT_EQ(st.st_uid, name.attr.uid);
    EXPECT_EQ(st.st_gid, name.attr.gid);
    EXPECT_EQ(st.st_size, static_cast<off_t>(name.attr.size));
    EXPECT_EQ(st.st_mtim.tv_sec, name.attr.mtime_s);
    EXPECT_EQ(st.st_mtim.tv_nsec, name.attr.mtime_ns);
    EXPECT_EQ(st.st_ctim.tv_sec, st.st_mtim.tv_sec);
    EXPECT_EQ(st.st_ino, replica->node(nodes.at(name.name))->ino);
    EXPECT_EQ(st.st_rdev, S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? makedev(4095, 1'048'575) : 0);
    EXPECT_EQ(st.st_nlink, name.attr.nlink);
    EXPECT_EQ(st.st_blksize, 4096);
  }
  std::array<char, 5000> target{};
  EXPECT_EQ(::readlink((*this / "link").c_str(), target.data(), target.size()), 4000);
  EXPECT_EQ(std::string(target.data()), std::string(4000, 'x'));
}

TEST_F(MountFidelityTest, HardLinksAreOneInode) {
  Name one = file("one", 4);
  one.group = 1;
  one.attr.nlink = 2;
  Name two = one;
  two.name = "two";
  const auto nodes = list(kRootNode, {one, two});
  fill(nodes.at("one"), "same");
  const struct stat a = lstat_of(*this / "one");
  const struct stat b = lstat_of(*this / "two");
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_EQ(a.st_nlink, 2U);
  EXPECT_EQ(b.st_nlink, 2U);
  EXPECT_EQ(read_file(*this / "two"), "same");
}

TEST_F(MountFidelityTest, AnyByteName) {
  std::vector<Name> names;
  std::set<std::string> expected{".", ".."};
  for (int c = 1; c < 256; ++c) {
    if (c == '/') continue;
    std::string name = "n";
    name.push_back(static_cast<char>(c));
    names.push_back(file(name, static_cast<uint64_t>(c)));
  }
  for (const std::string& odd : {std::string(255, 'l'), std::string(" "), std::string("\xc3\x28 invalid"),
                                 std::string("-rf"), std::string("\\134"), std::string("...")}) {
    names.push_back(file(odd, 1));
  }
  for (const Name& name : names) expected.insert(name.name);
  list(kRootNode, names);
  const std::vector<std::string> seen = names_in(path());
  EXPECT_EQ(seen.size(), expected.size());
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()), expected);
  for (const Name& name : names) {
    EXPECT_EQ(lstat_of(*this / name.name).st_size, static_cast<off_t>(name.attr.size));
  }
}

class ManyNamesTest : public ::testing::Test, public MountRig {
 protected:
  static constexpr size_t kNames = 50'000;
  void SetUp() override {
    std::vector<Name> names;
    names.reserve(kNames);
    for (size_t i = 0; i < kNames; ++i) names.push_back(file("name-" + std::to_string(i), i));
    big = list(kRootNode, {directory("big")}).at("big");
    list(big, std::move(names));
  }
  NodeId big = 0;
};

TEST_F(ManyNamesTest, EachIsListedOnceWithItsAttributes) {
  const std::vector<std::string> seen = names_in(*this / "big");
  EXPECT_EQ(seen.size(), kNames + 2);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), kNames + 2);
  const uint64_t before = requests(FrontOp::kLookup) + requests(FrontOp::kGetattr);
  for (size_t i = 0; i < kNames; i += 100) {
    ASSERT_EQ(lstat_of(*this / ("big/name-" + std::to_string(i))).st_size, static_cast<off_t>(i));
  }
  // readdirplus brought all of them.
  EXPECT_LE(requests(FrontOp::kLookup) + requests(FrontOp::kGetattr), before + 2);
  EXPECT_EQ(requests(FrontOp::kReaddir), 0U);
}

TEST_F(ManyNamesTest, ASecondListingIsTheKernels) {
  names_in(*this / "big");
  const uint64_t before = requests(FrontOp::kReaddirplus);
  EXPECT_EQ(names_in(*this / "big").size(), kNames + 2);
  EXPECT_EQ(requests(FrontOp::kReaddirplus), before);
}

TEST_F(ManyNamesTest, PositionsLeadBack) {
  for (const bool cached : {false, true}) {
    SCOPED_TRACE(cached ? "from the kernel's cache" : "from us");
    if (cached) names_in(*this / "big");
    DIR* open = ::opendir((*this / "big").c_str());
    ASSERT_NE(open, nullptr);
    std::map<size_t, std::pair<long, std::string>> places;
    std::vector<std::string> all;
    for (size_t i = 0;; ++i) {
      const long at = ::telldir(open);
      const dirent* entry = ::readdir(open);
      if (entry == nullptr) break;
      if (i % 7'777 == 0) places[i] = {at, entry->d_name};
      all.emplace_back(entry->d_name);
    }
    ASSERT_EQ(all.size(), kNames + 2);
    for (auto place = places.rbegin(); place != places.rend(); ++place) {
      ::seekdir(open, place->second.first);
      const dirent* entry = ::readdir(open);
      ASSERT_NE(entry, nullptr);
      EXPECT_EQ(entry->d_name, place->second.second);
      entry = ::readdir(open);
      ASSERT_NE(entry, nullptr);
      EXPECT_EQ(entry->d_name, all[place->first + 1]);
    }
    ::rewinddir(open);
    size_t again = 0;
    while (::readdir(open) != nullptr) ++again;
    EXPECT_EQ(again, all.size());
    ::closedir(open);
  }
}

TEST_F(MountFidelityTest, ExtendedAttributes) {
  Name f = file("f", 3);
  f.xattrs = {{"trusted.t", "root only", 9, false},
              {"user.binary", std::string("\0\xff", 2), 2, false},
              {"user.long", std::string(16, 'D'), 1000, true}};
  list(kRootNode, {f, file("bare", 0)});
  syncer.on_fetch_xattrs([this](NodeId) {
    return replica->store_xattr_value(std::string(16, 'D'), 1000, std::string(1000, 'v'));
  });
  std::array<char, 4096> buffer{};
  const ssize_t n = ::llistxattr((*this / "f").c_str(), buffer.data(), buffer.size());
  std::vector<std::string> names;
  for (ssize_t at = 0; at < n; at += static_cast<ssize_t>(names.back().size()) + 1) {
    names.emplace_back(buffer.data() + at);
  }
  EXPECT_THAT(names, UnorderedElementsAre("trusted.t", "user.binary", "user.long"));
  EXPECT_EQ(xattr_of(*this / "f", "trusted.t"), "root only");
  EXPECT_EQ(xattr_of(*this / "f", "user.binary"), std::string("\0\xff", 2));
  EXPECT_EQ(xattr_of(*this / "f", "user.long"), std::string(1000, 'v'));
  EXPECT_EQ(xattr_of(*this / "f", "user.none"), "errno " + std::to_string(ENODATA));
  EXPECT_EQ(xattr_of(*this / "f", "user.rsyncfs.state"), "remote");
  EXPECT_EQ(::llistxattr((*this / "bare").c_str(), nullptr, 0), 0);
  EXPECT_EQ(::lgetxattr((*this / "f").c_str(), "user.long", buffer.data(), 10), -1);
  EXPECT_EQ(errno, ERANGE);
  // Hidden from those who could not read them on a local disk either.
  Child stranger(1234, [&] { return static_cast<int>(::llistxattr((*this / "f").c_str(), nullptr, 0)); });
  EXPECT_EQ(stranger.wait(), static_cast<int>(sizeof("user.binary") + sizeof("user.long")));
}

TEST_F(MountFidelityTest, AclsAreShownAndEnforced) {
  // u::rw- u:1234:r-- g::--- m::rw- o::---: the group bits of the mode show the mask, not the group's rights.
  Name f = file("f", 4, 0660);
  const std::string access =
      acl_bytes({{0x01, 6, kNoId}, {0x02, 4, 1234}, {0x04, 0, kNoId}, {0x10, 6, kNoId}, {0x20, 0, kNoId}});
  f.attr.gid = 4321;
  f.xattrs = {{"system.posix_acl_access", access, access.size(), false}};
  Name d = directory("d", 0755);
  const std::string fallback = acl_bytes({{0x01, 7, kNoId}, {0x04, 5, kNoId}, {0x20, 0, kNoId}});
  d.xattrs = {{"system.posix_acl_default", fallback, fallback.size(), false}};
  const auto nodes = list(kRootNode, {f, d});
  fill(nodes.at("f"), "text");
  EXPECT_EQ(xattr_of(*this / "f", "system.posix_acl_access"), access);
  EXPECT_EQ(xattr_of(*this / "d", "system.posix_acl_default"), fallback);
  EXPECT_EQ(xattr_of(*this / "d", "system.posix_acl_access"), "errno " + std::to_string(ENODATA));
  const auto open_as = [&](uid_t user) {
    return Child(user, [&] { return ::open((*this / "f").c_str(), O_RDONLY) >= 0 ? 0 : errno; }).wait();
  };
  EXPECT_EQ(open_as(0), 0);
  EXPECT_EQ(open_as(1234), 0);
  EXPECT_EQ(open_as(1235), EACCES);
  EXPECT_EQ(open_as(4321), EACCES) << "the mask was taken for the group's rights";
}

TEST_F(MountFidelityTest, CopiesKeepAttributesAndAcls) {
  if (support::run_command({"getfacl", "--version"}, std::chrono::seconds(10)).exit_code != 0) {
    GTEST_SKIP() << "needs getfacl (Debian package acl)";
  }
  Name f = file("f", 4, 0660);
  const std::string access =
      acl_bytes({{0x01, 6, kNoId}, {0x02, 4, 1}, {0x04, 0, kNoId}, {0x10, 6, kNoId}, {0x20, 0, kNoId}});
  f.xattrs = {{"system.posix_acl_access", access, access.size(), false}, {"user.note", "kept", 4, false}};
  fill(list(kRootNode, {f}).at("f"), "text");
  EXPECT_THAT(support::run_shell("getfacl -n --absolute-names " + (*this / "f")), HasSubstr("user:1:r--"));
  EXPECT_THAT(support::run_shell("ls -l " + (*this / "f")), HasSubstr("-rw-rw----+"));
  support::run_shell("cp -a " + (*this / "f") + " " + (dir / "copy"));
  EXPECT_EQ(xattr_of(dir / "copy", "system.posix_acl_access"), access);
  EXPECT_EQ(xattr_of(dir / "copy", "user.note"), "kept");
  EXPECT_EQ(xattr_of(dir / "copy", "user.rsyncfs.state"), "errno " + std::to_string(ENODATA));
}

TEST_F(MountFidelityTest, HolesAreSeen) {
  constexpr uint64_t kSize = 8 << 20;
  constexpr off_t kMark = 4 << 20;
  fill_sparse(list(kRootNode, {file("sparse", kSize)}).at("sparse"), kSize, "mark", kMark);
  const int fd = ::open((*this / "sparse").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(::lseek(fd, 0, SEEK_DATA), kMark);
  EXPECT_EQ(::lseek(fd, 0, SEEK_HOLE), 0);
  EXPECT_EQ(::lseek(fd, kMark, SEEK_HOLE), kMark + 4096);
  EXPECT_EQ(::lseek(fd, kMark + 4096, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  std::array<char, 4> mark{};
  EXPECT_EQ(::pread(fd, mark.data(), mark.size(), kMark), 4);
  EXPECT_EQ(std::string(mark.data(), 4), "mark");
  ::close(fd);
  EXPECT_EQ(lstat_of(*this / "sparse").st_blocks, 8);
}

TEST_F(MountFidelityTest, InodeNumbersStayOverMounts) {
  list(kRootNode, {file("a", 1), directory("d")});
  const ino_t a = lstat_of(*this / "a").st_ino;
  const ino_t d = lstat_of(*this / "d").st_ino;
  const ino_t root = lstat_of(path()).st_ino;
  unmount();
  mount();
  EXPECT_EQ(lstat_of(*this / "d").st_ino, d);
  EXPECT_EQ(lstat_of(*this / "a").st_ino, a);
  EXPECT_EQ(lstat_of(path()).st_ino, root);
}

TEST_F(MountFidelityTest, StatfsAndMountTable) {
  struct statvfs store {};
  struct statvfs seen {};
  ASSERT_EQ(::statvfs(replica->directory().c_str(), &store), 0);
  ASSERT_EQ(::statvfs(path().c_str(), &seen), 0);
  EXPECT_EQ(seen.f_blocks, store.f_blocks);
  EXPECT_EQ(seen.f_namemax, 255U);
  EXPECT_NE(seen.f_flag & ST_RDONLY, 0U);
  EXPECT_NE(seen.f_flag & ST_NOSUID, 0U);
  EXPECT_NE(seen.f_flag & ST_NODEV, 0U);
  const std::string shown = support::run_shell("findmnt -rno SOURCE,FSTYPE " + path());
  EXPECT_THAT(shown, HasSubstr("fuse.rsyncfs"));
  EXPECT_THAT(shown, HasSubstr("rsync://test/module,with"));
  struct stat st {};
  ASSERT_EQ(::stat(path().c_str(), &st), 0);
  EXPECT_EQ(read_file("/sys/class/bdi/" + std::to_string(major(st.st_dev)) + ":" +
                      std::to_string(minor(st.st_dev)) + "/read_ahead_kb"),
            "1024\n");
}

TEST_F(MountFidelityTest, EveryChangeIsRefused) {
  Name f = file("f", 4, 0666);
  fill(list(kRootNode, {f, directory("d", 0777)}).at("f"), "text");
  const std::string at = *this / "f";
  const auto refused = [](int result) { return result == -1 && errno == EROFS; };
  EXPECT_TRUE(refused(::open(at.c_str(), O_WRONLY)));
  EXPECT_TRUE(refused(::open(at.c_str(), O_RDONLY | O_TRUNC)));
  EXPECT_TRUE(refused(::open((*this / "new").c_str(), O_WRONLY | O_CREAT, 0644)));
  EXPECT_TRUE(refused(::truncate(at.c_str(), 0)));
  EXPECT_TRUE(refused(::unlink(at.c_str())));
  EXPECT_TRUE(refused(::chmod(at.c_str(), 0600)));
  EXPECT_TRUE(refused(::mkdir((*this / "d/x").c_str(), 0755)));
  EXPECT_TRUE(refused(::rmdir((*this / "d").c_str())));
  EXPECT_TRUE(refused(::rename(at.c_str(), (*this / "g").c_str())));
  EXPECT_TRUE(refused(::setxattr(at.c_str(), "user.x", "y", 1, 0)));
  EXPECT_EQ(read_file(at), "text");
}

}  // namespace
}  // namespace rsyncfs::testing
