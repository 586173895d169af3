// SPDX-License-Identifier: GPL-3.0-or-later
// Lists in pages, from real servers, compared with the same list as a whole.
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>

#include "tests/rsync/pull_testing.h"
#include "tests/support/old_rsync.h"
#include "tests/support/torture_tree.h"

namespace rsyncfs {
namespace {

// All that a list says of one entry; hard-link groups are compared by themselves.
struct Said {
  FileEntry entry;
  EntryExtra extra;
  XattrSet xattrs;
  std::vector<PosixAcl> acls;
};

bool operator==(const Said& a, const Said& b) {
  return a.entry.size == b.entry.size && a.entry.mtime_s == b.entry.mtime_s &&
         a.entry.mtime_ns == b.entry.mtime_ns && a.entry.mode == b.entry.mode && a.entry.uid == b.entry.uid &&
         a.entry.gid == b.entry.gid && a.extra.link_target == b.extra.link_target &&
         a.extra.rdev_major == b.extra.rdev_major && a.extra.rdev_minor == b.extra.rdev_minor &&
         a.xattrs == b.xattrs && a.acls == b.acls;
}

struct Tree {
  std::map<std::string, Said> entries;
  std::map<uint32_t, std::set<std::string>> groups;

  void add(const FileList& list) {
    for (const FileEntry& entry : list.entries) {
      const EntryExtra& extra = list.extra(entry);
      Said said{entry, extra, {}, {}};
      if (extra.xattrs >= 0) said.xattrs = list.xattr_sets.at(static_cast<size_t>(extra.xattrs));
      for (const int32_t acl : {extra.access_acl, extra.default_acl}) {
        if (acl >= 0) said.acls.push_back(list.acls.at(static_cast<size_t>(acl)));
      }
      // Only pages have names of ids beside the ids.
      for (PosixAcl& acl : said.acls) {
        for (AclName& name : acl.names) name.name.clear();
      }
      const std::string path = list.path(entry);
      if (extra.hlink_group != 0) groups[extra.hlink_group].insert(path);
      EXPECT_TRUE(entries.emplace(path, std::move(said)).second) << path << " twice";
    }
  }
  std::set<std::set<std::string>> linked() const {
    std::set<std::set<std::string>> out;
    for (const auto& [group, names] : groups) out.insert(names);
    return out;
  }
};

class InteropPages : public testing::TestWithParam<std::string> {
 protected:
  void connect(const std::string& root, bool paged, BlockingPullOptions options = {}) {
    PullConfig config = daemon_config();
    config.paged = paged;
    const std::string& server = GetParam();
    if (server.starts_with("daemon")) {
      config.max_protocol = std::stoi(server.substr(6));
      if (!daemon_) daemon_.emplace(RsyncDaemon::serving(root));
      pull = BlockingPull::over_tcp(daemon_->port(), config, options);
    } else {
      config.root = root;
      pull =
          BlockingPull::over_pipe(server == "old" ? support::require_old_rsync() : "rsync", config, options);
    }
  }
  std::optional<RsyncDaemon> daemon_;
  std::unique_ptr<BlockingPull> pull;
};

TEST_P(InteropPages, SayWhatTheWholeListSays) {
  const TempDir tree;
  support::make_torture_tree(tree / "t", {.odd_names = 3'000, .large_files = false});
  connect(tree / "t", false);
  ASSERT_OK(pull->wait_for_list());
  Tree whole;
  whole.add(pull->list());
  connect(tree / "t", true);
  ASSERT_OK(pull->wait_for_pages());
  Tree paged;
  std::set<std::string> directories = {""};
  for (const ListPage& page : pull->pages) {
    EXPECT_TRUE(directories.contains(page.directory)) << page.directory << " before what it is in";
    EXPECT_EQ(page.list.io_error, 0u);
    paged.add(page.list);
    for (const FileEntry& entry : page.list.entries) {
      EXPECT_EQ(page.list.dirname(entry), page.directory);
      if (S_ISDIR(entry.mode)) directories.insert(page.list.path(entry));
    }
  }
  ASSERT_EQ(paged.entries.size(), whole.entries.size());
  for (const auto& [path, said] : whole.entries) {
    const auto found = paged.entries.find(path);
    ASSERT_NE(found, paged.entries.end()) << support::printable(path);
    EXPECT_TRUE(found->second == said) << support::printable(path);
  }
  EXPECT_FALSE(whole.linked().empty());
  EXPECT_EQ(paged.linked(), whole.linked());
}

TEST_P(InteropPages, TheServerWaitsUntilThePageIsTurned) {
  constexpr int kDirectories = 60;
  constexpr int kFiles = 300;
  const TempDir tree;
  support::make_many_files(tree / "t", kDirectories, kFiles, 0);
  BlockingPullOptions options;
  connect(tree / "t", true, options);
  pull->turn_at_once = false;
  ASSERT_OK(pull->pump_until([&] { return pull->pages.size() > 1; }));
  const auto received = [&] {
    size_t count = 0;
    for (const ListPage& page : pull->pages) count += page.list.size();
    return count;
  };
  const auto settled = [&] {
    static_cast<void>(pull->pump_for(std::chrono::milliseconds(300)));
    return received();
  };
  constexpr size_t kAll = 1 + kDirectories + kDirectories * kFiles;
  const size_t first = settled();
  EXPECT_LT(first, kAll / 2);
  pull->session().turn_pages();
  const size_t second = settled();
  EXPECT_GT(second, first);
  EXPECT_LT(second, kAll);
  pull->turn_at_once = true;
  pull->session().turn_pages();
  ASSERT_OK(pull->wait_for_pages());
  EXPECT_EQ(received(), kAll);
  EXPECT_EQ(pull->pages.size(), size_t{kDirectories + 1});
}

TEST_P(InteropPages, WhatCannotBeReadIsSaidWithItsPage) {
  if (getuid() == 0 && !GetParam().starts_with("daemon")) GTEST_SKIP() << "the server may read all";
  const TempDir tree;
  for (const char* name : {"a", "b", "c"}) {
    support::make_dirs(tree / "t" + std::string("/") + name);
    support::write_file(tree / "t" + std::string("/") + name + "/f", "x");
  }
  ASSERT_EQ(chmod(tree.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod((tree / "t/b").c_str(), getuid() == 0 ? 0700 : 0), 0);
  auto served = RsyncDaemon::serving(tree / "t");
  if (getuid() == 0) served.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}};
  if (GetParam().starts_with("daemon")) daemon_.emplace(std::move(served));
  connect(tree / "t", true);
  const auto done = pull->wait_for_pages();
  ASSERT_EQ(chmod((tree / "t/b").c_str(), 0755), 0);
  ASSERT_OK(done);
  ASSERT_EQ(pull->pages.size(), 4u);
  // In protocol 30 a message says it, too, which overtakes lists.
  if (pull->session().protocol() > 30) {
    EXPECT_EQ(pull->pages[1].list.io_error, 0u);
  }
  EXPECT_EQ(pull->pages[2].directory, "b");
  EXPECT_NE(pull->pages[2].list.io_error & FileList::kIoErrorGeneral, 0u);
  EXPECT_EQ(pull->pages[3].list.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Servers, InteropPages,
                         testing::Values("daemon30", "daemon31", "daemon32", "pipe", "old"),
                         [](const auto& info_) { return info_.param; });

}  // namespace
}  // namespace rsyncfs
