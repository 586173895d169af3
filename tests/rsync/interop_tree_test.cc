// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that a list can say, compared with what the file system says itself.
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "tests/rsync/pull_testing.h"
#include "tests/support/old_rsync.h"
#include "tests/support/torture_tree.h"

namespace rsyncfs {
namespace {

struct OnDisk {
  struct stat st {};
  std::map<std::string, std::string> xattrs;  // all but system.*
  std::string access_acl;
  std::string default_acl;
  std::string target;
};

std::string get_xattr(const std::string& path, const char* name) {
  std::string value(65536, '\0');
  const ssize_t size = lgetxattr(path.c_str(), name, value.data(), value.size());
  value.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return value;
}

OnDisk look(const std::string& path) {
  OnDisk out;
  EXPECT_EQ(lstat(path.c_str(), &out.st), 0) << path;
  std::string names(65536, '\0');
  const ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::strlen(names.data() + at)) + 1) {
    const std::string name = names.data() + at;
    if (!name.starts_with("system.")) out.xattrs[name] = get_xattr(path, name.c_str());
  }
  if (S_ISLNK(out.st.st_mode)) {
    std::string target(8192, '\0');
    target.resize(static_cast<size_t>(readlink(path.c_str(), target.data(), target.size())));
    out.target = target;
  } else {
    out.access_acl = get_xattr(path, "system.posix_acl_access");
    out.default_acl = get_xattr(path, "system.posix_acl_default");
  }
  return out;
}

std::set<std::string> walk(const std::string& root) {
  std::set<std::string> found = {"."};
  std::vector<std::string> dirs = {""};
  while (!dirs.empty()) {
    const std::string dir = dirs.back();
    dirs.pop_back();
    DIR* handle = opendir((root + "/" + dir).c_str());
    EXPECT_NE(handle, nullptr) << dir;
    while (const dirent* e = readdir(handle)) {
      const std::string name = e->d_name;
      if (name == "." || name == "..") continue;
      const std::string path = dir.empty() ? name : dir + "/" + name;
      found.insert(path);
      struct stat st {};
      EXPECT_EQ(lstat((root + "/" + path).c_str(), &st), 0);
      if (S_ISDIR(st.st_mode)) dirs.push_back(path);
    }
    closedir(handle);
  }
  return found;
}

// The kernel's form of an ACL as listed; absent permissions come from the mode.
std::string kernel_acl(const PosixAcl& acl, uint32_t mode) {
  std::vector<std::tuple<uint16_t, uint32_t, uint16_t>> rows;  // tag, id, permissions
  constexpr uint32_t kNone = 0xffffffff;
  const auto perms = [&](std::optional<uint8_t> given, unsigned shift) {
    return given.value_or(static_cast<uint8_t>(mode >> shift & 7));
  };
  const bool masked = acl.mask_obj || !acl.names.empty();
  rows.emplace_back(1, kNone, perms(acl.user_obj, 6));
  for (const AclName& name : acl.names) rows.emplace_back(name.user ? 2 : 8, name.id, name.perms);
  rows.emplace_back(4, kNone, perms(acl.group_obj, 3));
  if (masked) rows.emplace_back(16, kNone, perms(acl.mask_obj, 3));
  rows.emplace_back(32, kNone, perms(acl.other_obj, 0));
  std::sort(rows.begin(), rows.end());
  std::string out("\x02\0\0\0", 4);
  const auto put = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  };
  for (const auto& [tag, id, p] : rows) {
    put(tag, 2);
    put(p, 2);
    put(id, 4);
  }
  return out;
}

using GivenXattrs = std::map<int32_t, std::vector<std::pair<std::string, std::string>>>;  // by set, each once

void expect_xattrs(BlockingPull& pull, uint32_t ndx, const OnDisk& disk, GivenXattrs& given) {
  const EntryExtra& extra = pull.list().extra(pull.list().entry(ndx));
  std::map<std::string, std::string> listed;
  if (extra.xattrs >= 0) {
    const XattrSet set = pull.list().xattr_sets[static_cast<size_t>(extra.xattrs)];
    EXPECT_TRUE(
        std::is_sorted(set.begin(), set.end(), [](const auto& a, const auto& b) { return a.name < b.name; }));
    for (const ListedXattr& x : set) {
      EXPECT_EQ(x.abbreviated, x.size > 32 && x.value.size() == 16);
      if (!x.abbreviated) listed[x.name] = x.value;
    }
    if (!given.contains(extra.xattrs)) {
      const auto values = pull.fetch_xattrs(ndx);
      ASSERT_OK(values);
      given[extra.xattrs] = *values;
    }
    for (const auto& [name, value] : given[extra.xattrs]) listed[name] = value;
  }
  EXPECT_EQ(listed, disk.xattrs);
}

void expect_acls(const FileList& list, const FileEntry& entry, const OnDisk& disk) {
  const EntryExtra& extra = list.extra(entry);
  EXPECT_EQ(extra.access_acl >= 0, !disk.access_acl.empty());
  if (extra.access_acl >= 0) {
    EXPECT_EQ(kernel_acl(list.acls[static_cast<size_t>(extra.access_acl)], entry.mode), disk.access_acl);
  }
  EXPECT_EQ(extra.default_acl >= 0, !disk.default_acl.empty());
  if (extra.default_acl >= 0) {
    EXPECT_EQ(kernel_acl(list.acls[static_cast<size_t>(extra.default_acl)], 0), disk.default_acl);
  }
}

void expect_entry(const FileList& list, const FileEntry& entry, const OnDisk& disk, int protocol) {
  EXPECT_EQ(entry.mode, disk.st.st_mode);
  EXPECT_EQ(entry.uid, disk.st.st_uid);
  EXPECT_EQ(entry.gid, disk.st.st_gid);
  EXPECT_EQ(entry.mtime_s, disk.st.st_mtim.tv_sec);
  EXPECT_EQ(entry.mtime_ns, protocol >= 31 ? static_cast<uint32_t>(disk.st.st_mtim.tv_nsec) : 0u);
  const EntryExtra& extra = list.extra(entry);
  if (S_ISREG(entry.mode)) {
    EXPECT_EQ(entry.size, static_cast<uint64_t>(disk.st.st_size));
  }
  if (S_ISCHR(entry.mode) || S_ISBLK(entry.mode)) {
    EXPECT_EQ(extra.rdev_major, major(disk.st.st_rdev));
    EXPECT_EQ(extra.rdev_minor, minor(disk.st.st_rdev));
  } else {
    EXPECT_EQ(extra.rdev_major + extra.rdev_minor, 0u);
  }
  EXPECT_EQ(extra.link_target, disk.target);
  const bool linked = !S_ISDIR(entry.mode) && disk.st.st_nlink > 1;
  EXPECT_EQ((entry.flags & FileEntry::kHardLinked) != 0, linked);
  EXPECT_EQ(extra.hlink_group != 0, linked);
}

class TortureTree : public testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(TortureTree, ListSaysWhatTheDiskSays) {
  const auto& [server, protocol] = GetParam();
  TempDir dir;
  support::TortureOptions torture;
  torture.odd_names = 3000;
  torture.seed = 7;
  support::make_torture_tree(dir.path(), torture);
  PullConfig config = daemon_config();
  config.max_protocol = protocol;
  std::optional<RsyncDaemon> daemon;
  std::unique_ptr<BlockingPull> pull;
  if (server == "daemon") {
    daemon.emplace(RsyncDaemon::serving(dir.path()));
    pull = BlockingPull::over_tcp(daemon->port(), config);
  } else {
    config.root = dir.path();
    pull = BlockingPull::over_pipe(server == "old" ? support::require_old_rsync() : "rsync", config);
  }
  ASSERT_OK(pull->wait_for_list());
  const FileList& list = pull->list();
  EXPECT_EQ(list.io_error, 0u);
  const std::set<std::string> paths = walk(dir.path());
  EXPECT_EQ(list.size(), paths.size());
  std::map<std::pair<dev_t, ino_t>, uint32_t> groups;
  std::set<uint32_t> distinct_groups;
  GivenXattrs given;
  for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
    const FileEntry entry = list.entry(ndx);
    const std::string path = list.path(entry);
    SCOPED_TRACE(support::printable(path));
    ASSERT_TRUE(paths.contains(path));
    ASSERT_EQ(list.find(path), ndx);
    const OnDisk disk = look(dir / path);
    expect_entry(list, entry, disk, protocol);
    expect_acls(list, entry, disk);
    expect_xattrs(*pull, ndx, disk, given);
    if (const uint32_t group = list.extra(entry).hlink_group; group != 0) {
      const auto known = groups.emplace(std::pair(disk.st.st_dev, disk.st.st_ino), group).first;
      EXPECT_EQ(known->second, group);
      distinct_groups.insert(group);
    }
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_EQ(groups.size(), distinct_groups.size());
  EXPECT_GE(groups.size(), 20u);
  EXPECT_EQ(list.user_names.at(0), getpwuid(0)->pw_name);
  EXPECT_EQ(list.group_names.at(0), getgrgid(0)->gr_name);
  EXPECT_EQ(list.user_names.at(1), getpwuid(1)->pw_name);

  // The indices are the server's: the right bytes come for names that are hard to sort.
  std::vector<uint32_t> files;
  for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
    if (S_ISREG(list.entry(ndx).mode) && list.entry(ndx).size < 4'000'000) files.push_back(ndx);
  }
  std::vector<MemorySink> sinks(files.size());
  for (size_t i = 0; i < files.size(); ++i) pull->session().request_file(files[i], {}, sinks[i]);
  ASSERT_OK(pull->pump_until([&] { return pull->session().unanswered() == 0; }));
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string path = list.path(list.entry(files[i]));
    ASSERT_EQ(sinks[i].end->status, FileEnd::Status::kGood) << support::printable(path);
    ASSERT_EQ(sinks[i].data, support::read_file(dir / path)) << support::printable(path);
  }
  EXPECT_OK(pull->finish());
}

INSTANTIATE_TEST_SUITE_P(Servers, TortureTree,
                         testing::Combine(testing::Values("daemon", "pipe", "old"),
                                          testing::Values(30, 31, 32)),
                         [](const auto& info_) {
                           return std::get<0>(info_.param) + std::to_string(std::get<1>(info_.param));
                         });

TEST(PullTree, SharedXattrValuesAreAskedForOnce) {
  TempDir dir;
  const std::string value(1000, 'v');
  for (const char* name : {"a", "b", "c", "plain"}) support::write_file(dir / name, name);
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_EQ(lsetxattr((dir / name).c_str(), "user.long", value.data(), value.size(), 0), 0);
  }
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  const uint32_t a = *pull->list().find("a");
  const uint32_t b = *pull->list().find("b");
  // Two while the first is on its way, one after.
  ASSERT_TRUE(pull->session().request_xattrs(a));
  ASSERT_TRUE(pull->session().request_xattrs(b));
  ASSERT_OK(pull->pump_until([&] { return pull->xattrs.contains(b); }));
  EXPECT_FALSE(pull->session().request_xattrs(*pull->list().find("c")));
  for (const auto& got : {pull->xattrs[a], pull->xattrs[b]}) {
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].first, "user.long");
    EXPECT_EQ(got[0].second, value);
  }
  const auto none = pull->fetch_xattrs(*pull->list().find("plain"));
  ASSERT_OK(none);
  EXPECT_TRUE(none->empty());
  EXPECT_OK(pull->fetch("a"));
  EXPECT_OK(pull->finish());
}

TEST(PullTree, ChangedXattrsComeAsTheyAreNow) {
  TempDir dir;
  support::write_file(dir / "a", "a");
  support::write_file(dir / "b", "b");
  const std::string before(100, 'x');
  const std::string after(200, 'y');
  for (const char* name : {"a", "b"}) {
    ASSERT_EQ(lsetxattr((dir / name).c_str(), "user.changes", before.data(), before.size(), 0), 0);
    ASSERT_EQ(lsetxattr((dir / name).c_str(), "user.goes", before.data(), before.size(), 0), 0);
  }
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(lsetxattr((dir / "a").c_str(), "user.changes", after.data(), after.size(), 0), 0);
  ASSERT_EQ(lremovexattr((dir / "a").c_str(), "user.goes"), 0);
  const uint32_t a = *pull->list().find("a");
  const uint32_t b = *pull->list().find("b");
  ASSERT_TRUE(pull->session().request_xattrs(a));
  ASSERT_TRUE(pull->session().request_xattrs(b));
  ASSERT_OK(pull->pump_until([&] { return pull->xattrs.contains(b); }));
  ASSERT_EQ(pull->xattrs[a].size(), 1u);
  EXPECT_EQ(pull->xattrs[a][0].second, after);
  // b shared the set, but a's new value is not b's.
  EXPECT_TRUE(pull->xattrs[b].empty());
  EXPECT_OK(pull->finish());
}

TEST(PullTree, AttributesListedBeyondTheLimitsAreNotAskedFor) {
  TempDir dir;
  support::write_file(dir / "f", "f");
  const std::string longest(1500, 'l');
  const std::string first(800, '1');
  const std::string second(800, '2');
  for (const auto& [name, value] :
       {std::pair<const char*, const std::string&>("user.a", longest), {"user.b", first}, {"user.c", second}})
    ASSERT_EQ(lsetxattr((dir / "f").c_str(), name, value.data(), value.size(), 0), 0);
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  BlockingPullOptions options;
  options.limits.max_xattr_value_bytes = 1000;
  options.limits.max_xattr_answer_bytes = 1000;
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config(), options);
  ASSERT_OK(pull->wait_for_list());
  const auto values = pull->fetch_xattrs(*pull->list().find("f"));
  ASSERT_OK(values);
  ASSERT_EQ(values->size(), 1u);
  EXPECT_EQ((*values)[0], std::pair(std::string("user.b"), first));
  // The session lives on.
  EXPECT_OK(pull->fetch("f"));
  EXPECT_OK(pull->finish());
}

TEST(PullTree, NumericIdsSendNoNames) {
  TempDir dir;
  support::write_file(dir / "a", "a");
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = daemon_config();
  config.numeric_ids = true;
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  EXPECT_TRUE(pull->list().user_names.empty());
  EXPECT_OK(pull->fetch("a"));
  EXPECT_OK(pull->finish());
}

TEST(PullTree, FewerOptionsListLess) {
  TempDir dir;
  support::write_file(dir / "a", "a");
  ASSERT_EQ(link((dir / "a").c_str(), (dir / "b").c_str()), 0);
  ASSERT_EQ(lsetxattr((dir / "a").c_str(), "user.x", "y", 1, 0), 0);
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  PullConfig config = daemon_config();
  config.hard_links = config.acls = config.xattrs = false;
  auto pull = BlockingPull::over_tcp(daemon.port(), config);
  ASSERT_OK(pull->wait_for_list());
  EXPECT_EQ(pull->list().size(), 3u);
  EXPECT_TRUE(pull->list().extras.empty());
  EXPECT_OK(pull->fetch("b"));
  EXPECT_OK(pull->finish());
}

}  // namespace
}  // namespace rsyncfs
