// SPDX-License-Identifier: GPL-3.0-or-later
// Pull sessions against the real rsync: lists and contents in any order, over a daemon and over a pipe.
#include <sys/stat.h>

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "tests/support/blocking_pull.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using support::BlockingPull;
using support::MemorySink;
using support::RsyncDaemon;
using support::TempDir;

PullConfig daemon_config() {
  PullConfig config;
  config.module = "m";
  return config;
}

void make_small_tree(const std::string& root) {
  support::make_dirs(root + "/a/b");
  support::make_dirs(root + "/empty");
  support::write_file(root + "/one", "one\n");
  support::write_file(root + "/a/two", std::string(100'000, 'x') + "end");
  support::write_file(root + "/a/b/zero", "");
  support::write_file(root + "/a.txt", "sorts before the directory a");
  ASSERT_EQ(symlink("one", (root + "/link").c_str()), 0);
}

TEST(PullInterop, ListsAndFetchesFromADaemon) {
  TempDir dir;
  make_small_tree(dir.path());
  RsyncDaemon daemon(RsyncDaemon::serving(dir.path()));
  auto pull = BlockingPull::over_tcp(daemon.port(), daemon_config());
  ASSERT_TRUE(pull->wait_for_list().ok());
  const FileList& list = pull->list();
  EXPECT_EQ(list.size(), 9u);
  for (const FileEntry& e : list.entries) {
    if (!S_ISREG(e.mode)) continue;
    auto file = pull->fetch(list.path(e));
    ASSERT_TRUE(file.ok()) << file.error().message();
    EXPECT_EQ(file->end->status, FileEnd::Status::kGood);
    EXPECT_EQ(file->data, support::read_file(dir / list.path(e)));
  }
  EXPECT_EQ(list.extra(list.entry(*list.find("link"))).link_target, "one");
  const auto finished = pull->finish();
  EXPECT_TRUE(finished.ok()) << finished.error().message();
}

TEST(PullInterop, ListsAndFetchesOverAPipe) {
  TempDir dir;
  make_small_tree(dir.path());
  PullConfig config;
  config.root = dir.path();
  auto pull = BlockingPull::over_pipe("rsync", config);
  const auto listed = pull->wait_for_list();
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  auto file = pull->fetch("a/two");
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ(file->data, support::read_file(dir / "a/two"));
  EXPECT_TRUE(pull->finish().ok());
}

}  // namespace
}  // namespace rsyncfs
