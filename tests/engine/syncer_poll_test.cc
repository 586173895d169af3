// SPDX-License-Identifier: GPL-3.0-or-later
// What others change at the source is seen here by itself.
#include <filesystem>

#include <gtest/gtest.h>

#include "sync/engine/directories_in_use.h"
#include "sync/engine/poller.h"
#include "tests/engine/push_rig.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using support::wait_until;
using support::write_file;
namespace fs = std::filesystem;

constexpr seconds kLimit{60};

class PollTest : public PushTest {
 protected:
  void SetUp() override {
    for (const char* name : {"used", "rests", "rests/below"}) fs::create_directory(served(name));
    write_file(served("used/f"), "old");
    write_file(served("rests/f"), "old");
  }
  void start_polling(milliseconds every) {
    options_.poll = {.mode = PollOptions::Mode::kFixed, .every = every};
    start();
  }
  NodeId node(const std::string& path) { return rig_->find(path).value().id; }
  // As a mount that looks into the directory each time.
  bool comes(const std::string& directory, const std::string& name, bool use = true) {
    const NodeId in = node(directory);
    return wait_until(
        [&] {
          if (use) rig_->syncer().note_use(in);
          return rig_->replica().lookup(in, name).ok();
        },
        kLimit);
  }
  uint64_t lists() { return rig_->status().lists_received; }
  Result<void> refresh(const std::string& path) {
    std::promise<Result<void>> done;
    rig_->syncer().refresh(path.empty() ? kRootNode : node(path),
                           [&done](Result<void> result) { done.set_value(std::move(result)); });
    return done.get_future().get();
  }
};

TEST_F(PollTest, DirectoriesInUseAreListedAgainTogether) {
  start_polling(milliseconds(200));
  write_file(served("used/new"), "x");
  EXPECT_TRUE(comes("used", "new"));
  fs::remove(served("used/new"));
  const NodeId used = node("used");
  EXPECT_TRUE(wait_until(
      [&] {
        rig_->syncer().note_use(used);
        return !rig_->replica().lookup(used, "new").ok();
      },
      kLimit));
  write_file(served("used/f"), "newer");
  const bool seen = wait_until(
      [&] {
        rig_->syncer().note_use(used);
        const auto file = rig_->replica().lookup(used, "f");
        return file && file->attr.size == 5;
      },
      kLimit);
  EXPECT_TRUE(seen);
  EXPECT_EQ(rig_->read_all("used/f").value(), "newer");
}

// The whole tree, ten times less often: nobody is there.
TEST_F(PollTest, ElsewhereTheNextListOfTheTreeTells) {
  start_polling(milliseconds(100));
  write_file(served("rests/below/new"), "x");
  const NodeId below = node("rests/below");
  EXPECT_TRUE(wait_until([&] { return rig_->replica().lookup(below, "new").ok(); }, kLimit));
}

TEST_F(PollTest, ADirectoryThatIsUsedAfterARestIsListedAtOnce) {
  start_polling(seconds(1'000));
  std::this_thread::sleep_for(DirectoriesInUse::kRest);
  write_file(served("rests/new"), "x");
  EXPECT_FALSE(rig_->replica().lookup(node("rests"), "new").ok());
  const auto before = Clock::now();
  EXPECT_TRUE(comes("rests", "new"));
  EXPECT_LT(Clock::now() - before, seconds(30)) << "long before its turn";
}

// What is looked at every second anyway need not be told of again for a while.
TEST_F(PollTest, UseIsAskedForAsOftenAsItMatters) {
  const auto comes_to = [this](milliseconds hold) {
    return wait_until([&] { return rig_->syncer().use_holds_for() == hold; }, kLimit);
  };
  start();
  EXPECT_EQ(rig_->syncer().use_holds_for(), kLongestPollInterval) << "nothing is looked at";
  rig_.reset();
  options_.poll = {.mode = PollOptions::Mode::kFixed, .every = seconds(1)};
  open();
  EXPECT_TRUE(comes_to(DirectoriesInUse::kLongestHold));
  for (NodeId many = 1'000'000; many <= 1'000'000 + Poller::kMaxDirectories; ++many)
    rig_->syncer().note_use(many);
  EXPECT_TRUE(comes_to(seconds(1))) << "those used last have a turn";
  rig_.reset();
  options_.poll = {.mode = PollOptions::Mode::kFixed, .every = seconds(1'000)};
  open();
  const uint64_t before = lists();
  std::this_thread::sleep_for(DirectoriesInUse::kRest);
  rig_->syncer().note_use(node("used"));
  EXPECT_TRUE(wait_until([&] { return lists() > before; }, kLimit)) << "long before its turn";
  EXPECT_EQ(rig_->syncer().use_holds_for(), seconds(1));
}

TEST_F(PollTest, NothingIsListedWhereNothingIsInUse) {
  start_polling(milliseconds(100'000));
  const uint64_t before = lists();
  std::this_thread::sleep_for(seconds(2));
  EXPECT_EQ(lists(), before);
}

TEST_F(PollTest, OffIsOff) {
  start();
  const NodeId used = node("used");
  const uint64_t before = lists();
  write_file(served("used/new"), "x");
  for (int i = 0; i < 30; ++i) {
    rig_->syncer().note_use(used);
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(lists(), before);
  EXPECT_FALSE(rig_->replica().lookup(used, "new").ok());
}

TEST_F(PollTest, SessionsDoNotPileUp) {
  start_polling(milliseconds(50));
  const NodeId used = node("used");
  const uint64_t before = lists();
  const bool many = wait_until(
      [&] {
        rig_->syncer().note_use(used);
        EXPECT_LE(rig_->status().sessions.size(), 6U) << "of the eight that there may be";
        return lists() >= before + 40;
      },
      kLimit);
  EXPECT_TRUE(many);
  EXPECT_LE(rig_->status().sessions.size(), 3U) << "a list of the tree, and one or two of the directory";
}

TEST_F(PollTest, RefreshingBringsWhatIsThereNow) {
  start();
  write_file(served("rests/new"), "x");
  write_file(served("rests/below/new"), "x");
  write_file(served("used/new"), "x");
  ASSERT_TRUE(refresh("rests").ok());
  EXPECT_TRUE(rig_->find("rests/new").ok());
  EXPECT_TRUE(rig_->replica().lookup(node("rests/below"), "new").ok()) << "and below it";
  EXPECT_FALSE(rig_->replica().lookup(node("used"), "new").ok());
  ASSERT_TRUE(refresh("").ok());
  EXPECT_TRUE(rig_->replica().lookup(node("used"), "new").ok());
  // Each time anew.
  write_file(served("used/newer"), "x");
  ASSERT_TRUE(refresh("").ok());
  EXPECT_TRUE(rig_->replica().lookup(node("used"), "newer").ok());
}

TEST_F(PollTest, RefreshingSaysWhenTheSourceIsAway) {
  options_.timeout = std::chrono::milliseconds(1'000);
  options_.connect_timeout = std::chrono::milliseconds(1'000);
  start();
  const NodeId used = node("used");
  static_cast<void>(used);
  server_.reset();
  EXPECT_FALSE(refresh("used").ok());
  EXPECT_FALSE(refresh("").ok());
}

// What is changed here meanwhile is neither lost nor taken for theirs.
TEST_F(PollTest, OursAndTheirsMeet) {
  options_.writeback_delay = milliseconds(100);
  start_polling(milliseconds(100));
  const NodeId used = node("used");
  for (int i = 0; i < 30; ++i) {
    rig_->syncer().note_use(used);
    ASSERT_TRUE(rig_->write("used/ours" + std::to_string(i), std::to_string(i)).ok());
    write_file(served("used/theirs" + std::to_string(i)), std::to_string(i));
    std::this_thread::sleep_for(milliseconds(30));
  }
  flush();
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(remote("used/ours" + std::to_string(i)), std::to_string(i));
    EXPECT_TRUE(comes("used", "theirs" + std::to_string(i)));
  }
  EXPECT_TRUE(rig_->replica().pending().conflicts(10)->empty());
}

}  // namespace
}  // namespace rsyncfs
