// SPDX-License-Identifier: GPL-3.0-or-later
// Owners, extended attributes and ACLs pushed to the real rsync; and whole trees, with all there is.
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "tests/rsync/push_testing.h"
#include "tests/support/torture_tree.h"
#include "tests/support/tree_compare.h"

namespace rsyncfs {
namespace {

constexpr int64_t kTime = 1'600'000'000;

std::string xattr_of(const std::string& path, const std::string& name) {
  std::string value(70'000, '\0');
  const ssize_t size = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  if (size < 0) return "errno " + std::to_string(errno);
  value.resize(static_cast<size_t>(size));
  return value;
}
void set_xattr(const std::string& path, const std::string& name, const std::string& value) {
  ASSERT_EQ(lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0), 0) << path;
}
PushXattr whole_xattr(std::string name, std::string value) {
  PushXattr x{std::move(name), std::move(value), 0, false};
  x.size = x.value.size();
  return x;
}
PushXattr digest_of_xattr(std::string name, const std::string& value) {
  Digest md5(ChecksumKind::kMd5);
  md5.update(std::as_bytes(std::span(value)));
  const ChecksumValue digest = md5.finish();
  return {std::move(name), {reinterpret_cast<const char*>(digest.bytes.data()), 16}, value.size(), true};
}

class PushAttributes : public PushInterop {
 protected:
  PushAttributes() = default;
  explicit PushAttributes(support::DaemonParameters parameters) : PushInterop(std::move(parameters)) {}
  PushConfig config_for(PushKind kind) {
    PushConfig config = target_.config(kind);
    config.xattrs = true;
    return config;
  }
  std::unique_ptr<BlockingPush> push(PushConfig config) {
    auto push = target_.open(std::move(config));
    push->contents = contents_;
    const auto finished = push->finish();
    EXPECT_TRUE(finished.ok()) << (finished.ok() ? "" : finished.error().message()) << push->complaints();
    return push;
  }
  std::map<size_t, std::string> contents_;
};
INSTANTIATE_TEST_SUITE_P(Peers, PushAttributes, all_push_peers(), testing::PrintToStringParamName());

TEST_P(PushAttributes, XattrsOfNewAndOldFiles) {
  const std::string large = support::random_bytes(3000, 1);
  for (const char* name : {"d/attributes", "d/contents"}) {
    support::make_dirs(target_ / "d");
    support::write_file(target_ / name, "1234");
    support::set_mtime(target_ / name, kTime, 0);
    set_xattr(target_ / name, "user.goes", std::string(50, 'g'));
    set_xattr(target_ / name, "user.changes", "old");
    set_xattr(target_ / name, "user.same", std::string(100, 's'));
  }
  const std::vector<PushXattr> xattrs = {whole_xattr("user.small", "value"),
                                         whole_xattr("user.changes", large.substr(0, 32)),
                                         whole_xattr("user.large", large),
                                         whole_xattr("user.another\xff", large.substr(100, 33)),
                                         whole_xattr("user.same", std::string(100, 's')),
                                         whole_xattr("user.empty", "")};
  PushConfig config = config_for(PushKind::kAttributes);
  config.entries = {file_entry("d/attributes", 4)};
  config.entries[0].xattrs = xattrs;
  const auto attributes = push(config);
  EXPECT_EQ(attributes->complaints(), "");
  EXPECT_EQ(attributes->items.at(0).first, kItemXattr);
  config = config_for(PushKind::kData);
  contents_ = {{0, "5678"}, {1, "new"}};
  config.entries = {file_entry("d/contents", 4), file_entry("d/new", 3)};
  for (PushEntry& entry : config.entries) entry.xattrs = xattrs;
  const auto data = push(config);
  EXPECT_EQ(data->complaints(), "");
  for (const char* name : {"d/attributes", "d/contents", "d/new"}) {
    SCOPED_TRACE(name);
    for (const PushXattr& x : xattrs) EXPECT_EQ(xattr_of(target_ / name, x.name), x.value) << x.name;
    EXPECT_EQ(xattr_of(target_ / name, "user.goes"), "errno " + std::to_string(ENODATA));
  }
}

// The other entry with the same values gets them all the same.
TEST_P(PushAttributes, DeclinedEntryTakesNoXattrsAlong) {
  PushConfig config = config_for(PushKind::kData);
  config.entries = {file_entry("a", 4), file_entry("b", 4)};
  for (PushEntry& entry : config.entries) entry.xattrs = {whole_xattr("user.x", std::string(1000, 'x'))};
  contents_ = {{1, "data"}};
  EXPECT_EQ(push(config)->complaints(), "");
  EXPECT_EQ(xattr_of(target_ / "b", "user.x"), std::string(1000, 'x'));
}

// Of a value that is not known here, the digest keeps the one that is there.
TEST_P(PushAttributes, ValuesThatAreOnlyKnownByTheirDigest) {
  const std::string value(500, 'v');
  for (const char* name : {"same", "another", "replaced"}) {
    support::write_file(target_ / name, "1234");
    set_xattr(target_ / name, "user.x", name == std::string("another") ? std::string(500, 'w') : value);
  }
  PushConfig config = config_for(PushKind::kAttributes);
  config.entries = {file_entry("same", 4), file_entry("another", 4)};
  for (PushEntry& entry : config.entries) {
    entry.xattrs = {digest_of_xattr("user.x", value), whole_xattr("user.y", std::string(100, 'y'))};
  }
  const auto attributes = push(config);
  EXPECT_EQ(xattr_of(target_ / "same", "user.x"), value);
  EXPECT_EQ(xattr_of(target_ / "same", "user.y"), std::string(100, 'y'));
  EXPECT_EQ(xattr_of(target_ / "another", "user.x"), std::string(500, 'w'));
  EXPECT_EQ(xattr_of(target_ / "another", "user.y"), std::string(100, 'y'));
  EXPECT_NE(attributes->complaints().find("user.x"), std::string::npos);
  EXPECT_EQ(attributes->complaints().find("same"), std::string::npos);
  // New contents take it over from the old file.
  config = config_for(PushKind::kData);
  config.entries = {file_entry("replaced", 4)};
  config.entries[0].xattrs = {digest_of_xattr("user.x", value)};
  contents_ = {{0, "5678"}};
  EXPECT_EQ(push(config)->complaints(), "");
  EXPECT_EQ(support::read_file(target_ / "replaced"), "5678");
  EXPECT_EQ(xattr_of(target_ / "replaced", "user.x"), value);
}

// What is only named as a parent keeps what it has, ACLs and attributes too.
TEST_P(PushAttributes, ParentsKeepTheirs) {
  support::make_dirs(target_ / "d");
  set_xattr(target_ / "d", "user.of-parent", std::string(100, 'p'));
  const std::string acl(
      "\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x04\0\x01\0\0\0\x04\0\x05\0\xff\xff\xff\xff"
      "\x10\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff",
      44);
  set_xattr(target_ / "d", "system.posix_acl_access", acl);
  set_xattr(target_ / "d", "system.posix_acl_default", acl);
  PushConfig config = config_for(PushKind::kData);
  config.acls = true;
  config.entries = {file_entry("d/f", 4)};
  contents_ = {{0, "data"}};
  EXPECT_EQ(push(config)->complaints(), "");
  EXPECT_EQ(xattr_of(target_ / "d", "user.of-parent"), std::string(100, 'p'));
  EXPECT_EQ(xattr_of(target_ / "d", "system.posix_acl_access"), acl);
  EXPECT_EQ(xattr_of(target_ / "d", "system.posix_acl_default"), acl);
}

// A numeric id is that id; a name, if the server has it, is its own id of that name.
TEST_P(PushAttributes, Owners) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  PushConfig config = target_.config(PushKind::kData);
  config.owner = true;
  config.entries = {file_entry("numbers", 1), file_entry("names", 1), file_entry("roots", 1)};
  config.entries[0].uid = 70'000;
  config.entries[0].gid = 0x7ffffffe;
  config.entries[1].uid = 4711;
  config.entries[1].gid = 4712;
  contents_ = {{0, "1"}, {1, "1"}, {2, "1"}};
  push(config);
  EXPECT_EQ(stat_of(target_ / "numbers").st_uid, 70'000u);
  EXPECT_EQ(stat_of(target_ / "numbers").st_gid, 0x7ffffffeu);
  EXPECT_EQ(stat_of(target_ / "names").st_uid, 4711u);
  config.numeric_ids = false;
  config.user_names = {{0, "root"}, {4711, "daemon"}, {70'000, "no such user anywhere"}};
  config.group_names = {{0, "root"}, {4712, "bin"}};
  push(config);
  EXPECT_EQ(stat_of(target_ / "numbers").st_uid, 70'000u);
  EXPECT_EQ(stat_of(target_ / "names").st_uid, 1u);
  EXPECT_EQ(stat_of(target_ / "names").st_gid, 2u);
  EXPECT_EQ(stat_of(target_ / "roots").st_uid, 0u);
}

// Neither an unchrooted daemon, which takes a target that leads out of the module apart, nor one that munges
// keeps every link as it is pushed; the latter at least gives it back as it was.
TEST(PushLinks, DaemonsRewriteThem) {
  for (const bool munge : {false, true}) {
    PushTarget target({PeerKind::kDaemon, 32}, {{"munge symlinks", munge ? "yes" : "no"}});
    PushConfig config = target.config(PushKind::kCreate);
    for (const auto& [path, to] : {std::pair("a", "/etc/passwd"), {"b", "../../x"}, {"c", "d/../e"}}) {
      config.entries.push_back(file_entry(path, 0));
      config.entries.back().mode = S_IFLNK | 0777;
      config.entries.back().link_target = to;
    }
    const auto push = target.open(config);
    ASSERT_OK(push->finish());
    EXPECT_EQ(push->succeeded.size(), 3u);
    const auto pull = BlockingPull::over_tcp(target.daemon().port(), daemon_config());
    ASSERT_OK(pull->wait_for_list());
    const auto seen = [&](const char* path) {
      return pull->list().extra(pull->list().entry(*pull->list().find(path))).link_target;
    };
    EXPECT_EQ(seen("a"), munge ? "/etc/passwd" : "etc/passwd");
    EXPECT_EQ(seen("b"), munge ? "../../x" : "x");
    EXPECT_EQ(seen("c"), munge ? "d/../e" : "e");
  }
}

// From everything there is, listed by a pull, to an empty directory.
class PushTree : public PushAttributes {
 protected:
  // A daemon in a chroot, because another one rewrites the targets of symbolic links.
  PushTree() : PushAttributes({{"use chroot", "yes"}}) {}
  void SetUp() override {
    if (GetParam().peer == PeerKind::kDaemon && geteuid() != 0) GTEST_SKIP() << "needs root, for a chroot";
    support::TortureOptions torture;
    torture.odd_names = 300;
    torture.large_files = false;
    support::make_torture_tree(source_.path(), torture);
    support::remove_tree(source_ / "deep");  // a server walks down to each name from the top
    // Without nanoseconds, what was made just now may look as if it had the right time already.
    support::run_shell("find '" + source_.path() +
                       "' -newermt '1 hour ago' -exec touch -h -d @1600000000.5 {} +");
    PullConfig config;
    config.root = source_.path();
    config.numeric_ids = true;
    pull_ = BlockingPull::over_pipe("rsync", config);
    ASSERT_OK(pull_->wait_for_list());
  }
  const FileList& list() { return pull_->list(); }

  PushEntry entry_of(const FileEntry& listed) {
    PushEntry entry;
    entry.path = list().path(listed);
    entry.mode = listed.mode;
    entry.size = listed.size;
    entry.mtime_s = listed.mtime_s;
    entry.mtime_ns = listed.mtime_ns;
    entry.uid = listed.uid;
    entry.gid = listed.gid;
    const EntryExtra& extra = list().extra(listed);
    entry.rdev_major = extra.rdev_major;
    entry.rdev_minor = extra.rdev_minor;
    entry.link_target = extra.link_target;
    entry.hlink_group = extra.hlink_group;
    if (extra.access_acl >= 0) entry.access_acl = list().acls[static_cast<size_t>(extra.access_acl)];
    if (extra.default_acl >= 0) entry.default_acl = list().acls[static_cast<size_t>(extra.default_acl)];
    if (extra.xattrs >= 0) entry.xattrs = list().xattr_sets[static_cast<size_t>(extra.xattrs)];
    for (PushXattr& x : entry.xattrs) {
      if (x.abbreviated) x = whole_xattr(x.name, xattr_of(source_ / entry.path, x.name));
    }
    return entry;
  }

  // Pushes all that `chosen` says yes to.
  void push_kind(PushKind kind, const std::function<bool(PushEntry&)>& chosen) {
    PushConfig config = config_for(kind);
    config.acls = true;
    config.owner = geteuid() == 0;
    config.fsync = false;
    contents_.clear();
    for (const FileEntry& listed : list().entries) {
      PushEntry entry = entry_of(listed);
      if (!chosen(entry)) continue;
      if (S_ISREG(entry.mode) && kind == PushKind::kData) {
        contents_[config.entries.size()] = support::read_file(source_ / entry.path);
      }
      config.entries.push_back(std::move(entry));
    }
    const size_t wanted = static_cast<size_t>(
        std::ranges::count_if(config.entries, [](const PushEntry& e) { return !S_ISDIR(e.mode); }));
    const auto done = push(std::move(config));
    EXPECT_EQ(done->complaints(), "");
    EXPECT_GE(done->succeeded.size() + (kind == PushKind::kLink ? 100 : 0), wanted);
  }

  TempDir source_;
  std::unique_ptr<BlockingPull> pull_;
};
INSTANTIATE_TEST_SUITE_P(Peers, PushTree,
                         testing::Values(PushPeer{PeerKind::kDaemon, 32}, PushPeer{PeerKind::kShell, 30}),
                         testing::PrintToStringParamName());

TEST_P(PushTree, ArrivesWhole) {
  std::map<uint32_t, std::string> firsts;
  push_kind(PushKind::kCreate, [](PushEntry& entry) { return !S_ISREG(entry.mode); });
  push_kind(PushKind::kData, [&](PushEntry& entry) {
    if (!S_ISREG(entry.mode)) return false;
    return entry.hlink_group == 0 || firsts.emplace(entry.hlink_group, entry.path).second;
  });
  push_kind(PushKind::kLink, [](PushEntry& entry) { return S_ISREG(entry.mode) && entry.hlink_group != 0; });
  push_kind(PushKind::kAttributes, [](PushEntry& entry) { return S_ISDIR(entry.mode); });
  support::CompareOptions compare;
  compare.owners = geteuid() == 0;
  compare.nanoseconds = GetParam().protocol >= 31;
  compare.link_counts = false;  // of links and FIFOs, which are made one by one
  EXPECT_EQ(support::join_lines(support::compare_trees(source_.path(), target_.path(), compare)), "");
  for (const FileEntry& listed : list().entries) {
    const uint32_t group = list().extra(listed).hlink_group;
    if (group == 0 || !S_ISREG(listed.mode)) continue;
    EXPECT_EQ(stat_of(target_ / list().path(listed)).st_ino, stat_of(target_ / firsts[group]).st_ino);
  }
}

}  // namespace
}  // namespace rsyncfs
