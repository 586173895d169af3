// SPDX-License-Identifier: GPL-3.0-or-later
// What is brought before anybody asks for it.
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "sync/engine/request_window.h"
#include "sync/engine/tree_walk.h"
#include "sync/engine/unread_ahead.h"
#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;
using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

constexpr uint64_t kMiB = 1 << 20;

std::string numbered(const char* what, int number) {
  std::string digits = std::to_string(number);
  return what + std::string(4 - digits.size(), '0') + digits;
}

class ReadAheadTest : public ::testing::Test {
 protected:
  void serve(int dirs, int files, size_t bytes) {
    for (int d = 0; d < dirs; ++d) {
      support::make_dirs(tree_ / "top/" + numbered("d", d));
      for (int f = 0; f < files; ++f)
        write_file(tree_ / path(d, f), support::random_bytes(bytes, d * 100 + f));
    }
    for (int d = 0; d < dirs; ++d) {
      for (int f = 0; f < files; ++f) support::set_mtime(tree_ / path(d, f), 1'500'000'000, 0);
    }
    dirs_ = dirs;
    files_ = files;
    server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
    rig_ = std::make_unique<EngineRig>(server_->url(), store_ / "s");
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
  }
  static std::string path(int d, int f) { return "top/" + numbered("d", d) + "/" + numbered("f", f); }
  bool is_here(int d, int f) {
    const auto node = rig_->find(path(d, f));
    if (!node) return false;
    const auto state = rig_->replica().content_state(node->id);
    return state && state->complete;
  }
  int here() {
    int count = 0;
    for (int d = 0; d < dirs_; ++d) {
      for (int f = 0; f < files_; ++f) count += is_here(d, f) ? 1 : 0;
    }
    return count;
  }
  bool comes(int d, int f) {
    for (int i = 0; i < 500; ++i, ::usleep(10'000)) {
      if (is_here(d, f)) return true;
    }
    return false;
  }
  // Until nothing more comes.
  int settled() {
    int count = here();
    for (int i = 0; i < 100; ++i) {
      ::usleep(150'000);
      const int now = here();
      if (now == count) return now;
      count = now;
    }
    return count;
  }
  void read(int d, int f, size_t bytes) {
    const auto got = rig_->read_all(path(d, f));
    ASSERT_TRUE(got.ok()) << got.error().message();
    ASSERT_TRUE(*got == support::random_bytes(bytes, d * 100 + f)) << path(d, f);
  }

  TempDir tree_;
  TempDir store_;
  int dirs_ = 0;
  int files_ = 0;
  std::unique_ptr<RsyncDaemon> server_;
  std::unique_ptr<EngineRig> rig_;
};

TEST_F(ReadAheadTest, WhoReadsOneDirectoryThroughFindsItsRest) {
  serve(4, 20, 2000);
  read(1, 3, 2000);
  read(1, 4, 2000);
  ASSERT_TRUE(comes(1, 19));
  EXPECT_EQ(settled(), 1 + 16) << "what is before it is not, nor are other directories";
}

TEST_F(ReadAheadTest, WhoGoesOnToTheNextDirectoryFindsAllThatFollows) {
  serve(30, 10, 2000);
  read(0, 0, 2000);
  read(0, 1, 2000);
  read(1, 0, 2000);
  ASSERT_TRUE(comes(29, 9));
  EXPECT_EQ(settled(), 300);
  EXPECT_EQ(server_->transfers().size(), 300U) << "each once";
}

TEST_F(ReadAheadTest, NothingComesBeyondTheBudgetUntilItIsUsed) {
  constexpr size_t kBytes = 50'000;
  serve(10, 10, kBytes);
  read(0, 0, kBytes);
  read(0, 1, kBytes);
  read(1, 0, kBytes);
  const int first = settled();
  EXPECT_GE(first, 15);
  EXPECT_LE(first, 3 + 22) << "a MiB and a file";
  for (int d = 0; d < 10; ++d) {
    for (int f = 0; f < 10; ++f) read(d, f, kBytes);
  }
  EXPECT_EQ(server_->transfers().size(), 100U) << "each once";
}

TEST_F(ReadAheadTest, WhoReadsHereAndThereGetsNothingElse) {
  serve(10, 10, 2000);
  for (int d = 0; d < 10; d += 3) {
    read(d, d, 2000);
    ::usleep(400'000);
  }
  EXPECT_EQ(settled(), 4);
}

TEST_F(ReadAheadTest, AFileThatWasRenamedHereIsNotTakenForTheOneOfThatName) {
  serve(1, 6, 2000);
  server_->stop();
  ASSERT_TRUE(rig_->rename("top/d0000/f0004", "top/d0000/x").ok());
  ASSERT_TRUE(rig_->rename("top/d0000/f0005", "top/d0000/f0004").ok());
  ASSERT_TRUE(rig_->rename("top/d0000/x", "top/d0000/f0005").ok());
  WalkLimits limits{"top/d0000", false, kMiB};
  const auto step = walk_tree(rig_->replica(), {rig_->find("top/d0000")->id, ""}, limits);
  std::vector<std::string> found;
  for (const auto& target : step.files) found.push_back(target.path);
  EXPECT_EQ(found, (std::vector<std::string>{"top/d0000/f0000", "top/d0000/f0001", "top/d0000/f0002",
                                             "top/d0000/f0003"}));
}

TEST(CommonTop, IsAWholeDirectory) {
  EXPECT_EQ(common_top("a/b", "a/b"), "a/b");
  EXPECT_EQ(common_top("a/b", "a/b/c"), "a/b");
  EXPECT_EQ(common_top("a/b/c", "a/b"), "a/b");
  EXPECT_EQ(common_top("a/bc", "a/bd"), "a");
  EXPECT_EQ(common_top("a/b", "a/bc"), "a");
  EXPECT_EQ(common_top("a", "b"), "");
  EXPECT_EQ(common_top("", "b/c"), "");
}

TEST(UnreadAhead, CountsWhatWasNotAskedFor) {
  UnreadAhead unread;
  EXPECT_EQ(unread.take(7), 0U);
  EXPECT_TRUE(unread.add(7, 1000));
  EXPECT_FALSE(unread.add(7, 1000));
  EXPECT_TRUE(unread.add(8, 1));
  EXPECT_EQ(unread.bytes(), 1001 + 2 * kAheadOverheadBytes);
  EXPECT_EQ(unread.take(7), 1000 + kAheadOverheadBytes);
  EXPECT_EQ(unread.take(7), 0U);
  unread.clear();
  EXPECT_EQ(unread.bytes(), 0U);
  EXPECT_EQ(unread.take(8), 0U);
}

// A link of so many bytes in a ms, and of so many ms: what the window comes to.
uint64_t window_on(uint64_t bytes_in_ms, milliseconds round_trip) {
  constexpr uint64_t kFile = 10'000;
  RequestWindow window;
  Clock::time_point now{};
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t queued = window.bytes();
    const milliseconds age = std::max(round_trip, milliseconds(queued / bytes_in_ms));
    now += milliseconds(1 + kFile / bytes_in_ms);
    window.answered(now, age, kFile, true);
  }
  return window.bytes();
}

TEST(RequestWindow, FillsTheLinkAndNotMuchMore) {
  const uint64_t wan = window_on(12'500, milliseconds(40));
  EXPECT_GE(wan, 12'500U * 40);
  EXPECT_LE(wan, 12'500U * 40 * 3);
  const uint64_t mobile = window_on(2'500, milliseconds(120));
  EXPECT_GE(mobile, 2'500U * 120);
  EXPECT_LE(mobile, 2'500U * 120 * 3);
  EXPECT_EQ(window_on(1'000'000, milliseconds(200)), RequestWindow::kMostBytes);
}

}  // namespace
}  // namespace rsyncfs
