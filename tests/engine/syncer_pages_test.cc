// SPDX-License-Identifier: GPL-3.0-or-later
// Trees that are too large for one list.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "sync/engine/remote_session.h"
#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

constexpr std::chrono::seconds kLimit{30};

class PagesTest : public ::testing::Test {
 protected:
  static SyncerOptions options(size_t max_whole_tree) {
    SyncerOptions out;
    out.max_whole_tree = max_whole_tree;
    return out;
  }
  std::string served(const std::string& name) const { return tree_ / name; }
  static size_t names_below(EngineRig& rig, NodeId directory) {
    size_t count = 0;
    std::vector<NodeId> directories;
    EXPECT_TRUE(rig.replica()
                    .list(directory,
                          [&](std::string_view, const Node& node) {
                            ++count;
                            if (S_ISDIR(node.attr.mode)) directories.push_back(node.id);
                          })
                    .ok());
    for (const NodeId each : directories) count += names_below(rig, each);
    return count;
  }
  static bool has_tree_session(EngineRig& rig) {
    for (const SessionStatus& session : rig.status().sessions) {
      if (session.purpose == "tree") return true;
    }
    return false;
  }
  TempDir tree_;
  TempDir store_;
};

TEST_F(PagesTest, ATreeThatTurnsOutTooLargeComesInPages) {
  support::make_many_files(tree_.path(), 30, 20, 10);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  uint64_t opened_first = 0;
  {
    EngineRig rig(server.url(), store_ / "s", options(100));
    ASSERT_TRUE(rig.start().ok());
    ASSERT_TRUE(rig.wait_for_tree());
    EXPECT_EQ(names_below(rig, kRootNode), 30U + 600U);
    EXPECT_EQ(rig.status().tree_entries, 1U + 30U + 600U);
    EXPECT_FALSE(has_tree_session(rig)) << "there is nothing to fetch by it";
    opened_first = rig.status().sessions_opened;
    // Contents come by sessions of their directories.
    const auto bytes = rig.read_all("d007/f0003");
    ASSERT_TRUE(bytes.ok()) << bytes.error().message();
    EXPECT_EQ(bytes->size(), 10U);
  }
  EngineRig again(server.url(), store_ / "s", options(100));
  ASSERT_TRUE(again.start().ok());
  ASSERT_TRUE(again.wait_for_tree());
  EXPECT_EQ(again.status().sessions_opened + 1, opened_first) << "it was known by then";
  EXPECT_EQ(again.status().tree_entries, 1U + 30U + 600U);
}

TEST_F(PagesTest, ATreeThatFitsIsHeldAsAWhole) {
  support::make_many_files(tree_.path(), 3, 20, 10);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", options(64));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  EXPECT_TRUE(has_tree_session(rig));
}

TEST_F(PagesTest, WhatChangedIsFoundByTheNextPages) {
  support::make_many_files(tree_.path(), 10, 20, 10);
  write_file(served("goes"), "x");
  support::make_dirs(served("gone/below"));
  write_file(served("gone/below/f"), "x");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", options(50));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto renamed = rig.find("d003");
  ASSERT_TRUE(renamed.ok());
  std::filesystem::remove_all(served("gone"));
  std::filesystem::remove(served("goes"));
  write_file(served("d002/new"), "y");
  std::filesystem::rename(served("d003"), served("moved"));
  ASSERT_TRUE(rig.refresh(kRootNode).ok());
  EXPECT_FALSE(rig.replica().lookup(kRootNode, "goes").ok());
  EXPECT_FALSE(rig.replica().lookup(kRootNode, "gone").ok());
  EXPECT_FALSE(rig.replica().lookup(kRootNode, "d003").ok());
  const auto moved = rig.replica().lookup(kRootNode, "moved");
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(moved->id, renamed->id) << "renamed within its parent it is the same directory";
  EXPECT_EQ(names_below(rig, moved->id), 20U);
  const auto d2 = rig.replica().lookup(kRootNode, "d002");
  ASSERT_TRUE(d2.ok());
  EXPECT_TRUE(rig.replica().lookup(d2->id, "new").ok());
}

TEST_F(PagesTest, HardLinksOfOtherPagesAreOneNodeAsLongAsTheyAreOneVersion) {
  for (const char* name : {"a", "b", "c"}) support::make_dirs(served(name));
  write_file(served("a/one"), "x");
  ASSERT_EQ(::link(served("a/one").c_str(), served("b/two").c_str()), 0);
  ASSERT_EQ(::link(served("a/one").c_str(), served("c/three").c_str()), 0);
  write_file(served("b/alone"), "x");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", options(0));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto one = rig.find("a/one");
  const auto two = rig.find("b/two");
  const auto three = rig.find("c/three");
  const auto alone = rig.find("b/alone");
  ASSERT_TRUE(one.ok() && two.ok() && three.ok() && alone.ok());
  EXPECT_EQ(one->id, two->id);
  EXPECT_EQ(one->id, three->id);
  EXPECT_NE(one->id, alone->id);
  EXPECT_EQ(three->attr.nlink, 3U);
  // A name less, and one that is another file now.
  ASSERT_EQ(::unlink(served("b/two").c_str()), 0);
  ASSERT_EQ(::unlink(served("c/three").c_str()), 0);
  write_file(served("c/three"), "other");
  ASSERT_TRUE(rig.refresh(kRootNode).ok());
  const auto now = rig.find("a/one");
  const auto other = rig.find("c/three");
  ASSERT_TRUE(now.ok() && other.ok());
  EXPECT_EQ(now->attr.nlink, 1U);
  EXPECT_NE(now->id, other->id);
  EXPECT_FALSE(rig.find("b/two").ok());
}

TEST_F(PagesTest, AnEmptiedSourceIsNotBelieved) {
  support::make_many_files(served("t"), 10, 20, 10);
  RsyncDaemon server(RsyncDaemon::serving(served("t")));
  EngineRig rig(server.url(), store_ / "s", options(50));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  for (const auto& entry : std::filesystem::directory_iterator(served("t")))
    std::filesystem::remove_all(entry.path());
  static_cast<void>(rig.refresh(kRootNode));
  EXPECT_EQ(names_below(rig, kRootNode), 10U + 200U);
  EXPECT_NE(rig.status().push.stopped, "");
}

// While the store is busy, no more comes than may wait.
TEST_F(PagesTest, TheServerIsToldToGoOnWhenThereIsRoom) {
  constexpr size_t kDirectories = 45;
  constexpr size_t kFiles = 1'000;
  constexpr size_t kAll = 1 + kDirectories + kDirectories * kFiles;
  // rsync's own look-ahead, one directory, and what one piece of input holds.
  constexpr size_t kMost = kMaxWaitingEntries + 10'000 + kFiles + 5'000;
  static_assert(kMost < kAll);
  support::make_many_files(tree_.path(), kDirectories, kFiles, 0);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", options(100));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  auto busy = rig.replica().begin();
  ASSERT_TRUE(busy.ok());
  std::promise<Result<void>> answer;
  rig.syncer().refresh(kRootNode, [&](Result<void> done) { answer.set_value(std::move(done)); });
  uint64_t entries = 0;
  const auto settled = [&] {
    uint64_t now = 0;
    for (const SessionStatus& session : rig.status().sessions) {
      if (session.purpose == "tree") now = session.entries;
    }
    const bool same = now != 0 && now == entries;
    entries = now;
    return same;
  };
  const auto stays = [&] {
    for (int i = 0; i < 5; ++i) {
      if (!settled()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return true;
  };
  ASSERT_TRUE(support::wait_until(stays, kLimit));
  EXPECT_GT(entries, kMaxWaitingEntries / 2);
  EXPECT_LT(entries, kMost);
  busy->reset();
  auto answered = answer.get_future();
  ASSERT_EQ(answered.wait_for(kLimit), std::future_status::ready);
  EXPECT_TRUE(answered.get().ok());
  EXPECT_EQ(rig.status().tree_entries, kAll);
}

// What came of them counts, and the rest comes again.
TEST_F(PagesTest, PagesThatBreakOffAreBegunAnew) {
  support::make_many_files(tree_.path(), 45, 1'000, 0);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", options(100));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(support::wait_until(
      [&] {
        for (const SessionStatus& session : rig.status().sessions) {
          if (session.purpose == "tree" && session.entries > 1'000) return true;
        }
        return false;
      },
      kLimit));
  server.drop_connections();
  ASSERT_TRUE(rig.wait_for_tree());
  EXPECT_EQ(rig.status().tree_entries, 1U + 45U + 45'000U);
  EXPECT_EQ(names_below(rig, kRootNode), 45U + 45'000U);
}

// With one connection at a time nobody waits for the end of the pages.
TEST_F(PagesTest, SomebodyWhoWaitsGoesFirst) {
  support::make_many_files(tree_.path(), 45, 1'000, 0);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  SyncerOptions one = options(100);
  one.max_sessions = 1;
  EngineRig rig(server.url(), store_ / "s", one);
  ASSERT_TRUE(rig.start().ok());
  const auto deep = rig.find("d044/f0999");
  EXPECT_TRUE(deep.ok());
  ASSERT_TRUE(rig.wait_for_tree());
  EXPECT_EQ(rig.status().tree_entries, 1U + 45U + 45'000U);
}

}  // namespace
}  // namespace rsyncfs
