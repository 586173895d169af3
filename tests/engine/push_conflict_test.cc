// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of changes that both sides made.
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "tests/engine/push_rig.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using support::write_file;
namespace fs = std::filesystem;

class PushConflictTest : public PushTest {
 protected:
  // The names in the root that are no copies, and the contents of those that are.
  std::vector<std::string> copies() const {
    std::vector<std::string> out;
    for (const std::string& name : listing()) {
      if (name.find(".conflict-") != std::string::npos) out.push_back(remote(name));
    }
    return out;
  }
};

TEST_F(PushConflictTest, TheirsKeepsTheNameAndOursIsBesideIt) {
  write_file(served("f"), "base");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->write("f", "ours").ok());
  write_file(served("f"), "theirs, longer");
  flush();
  EXPECT_EQ(remote("f"), "theirs, longer");
  EXPECT_EQ(copies(), (Names{"ours"}));
  EXPECT_EQ(rig_->read_all("f").value(), "theirs, longer");
  EXPECT_EQ(rig_->status().push.conflicts, 1U);
}

TEST_F(PushConflictTest, AnEditThatKeepsSizeAndTimeIsSeenByItsBlocks) {
  write_file(served("f"), "base");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->hydrate(rig_->find("f")->id).ok());
  struct stat before {};
  ASSERT_EQ(::stat(served("f").c_str(), &before), 0);
  ASSERT_TRUE(rig_->write("f", "ours").ok());
  write_file(served("f"), "BASE");
  support::set_mtime(served("f"), before.st_mtim.tv_sec, before.st_mtim.tv_nsec);
  flush();
  EXPECT_EQ(remote("f"), "BASE");
  EXPECT_EQ(copies(), (Names{"ours"}));
  EXPECT_EQ(rig_->read_all("f").value(), "BASE");
}

TEST_F(PushConflictTest, PoliciesByNameDecide) {
  for (const char* name : {"a.log", "b.mine", "c"}) write_file(served(name), "base");
  options_.writeback_delay = std::chrono::seconds(1000);
  options_.conflict_rules = {{"*.log", ConflictPolicy::kRemote}, {"*.mine", ConflictPolicy::kLocal}};
  start();
  for (const char* name : {"a.log", "b.mine", "c"}) {
    ASSERT_TRUE(rig_->write(name, "ours").ok());
    write_file(served(name), "theirs, longer");
  }
  flush();
  EXPECT_EQ(remote("a.log"), "theirs, longer");
  EXPECT_EQ(remote("b.mine"), "ours");
  EXPECT_EQ(remote("c"), "theirs, longer");
  EXPECT_EQ(copies(), (Names{"ours"}));
}

TEST_F(PushConflictTest, WhatWasRemovedHereButChangedThereStays) {
  write_file(served("f"), "base");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->remove("f").ok());
  write_file(served("f"), "theirs, longer");
  flush();
  EXPECT_EQ(remote("f"), "theirs, longer");
  EXPECT_EQ(rig_->read_all("f").value(), "theirs, longer");
}

TEST_F(PushConflictTest, WhatWasChangedHereButRemovedThereIsMadeAnew) {
  write_file(served("f"), "base");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->write("f", "ours").ok());
  fs::remove(served("f"));
  flush();
  EXPECT_EQ(remote("f"), "ours");
}

TEST_F(PushConflictTest, TheSameNewNameOnBothSides) {
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->write("f", "ours").ok());
  ASSERT_TRUE(rig_->make_directory("d").ok());
  ASSERT_TRUE(rig_->write("d/mine", "ours").ok());
  write_file(served("f"), "theirs, longer");
  fs::create_directory(served("d"));
  write_file(served("d/their"), "x");
  flush();
  EXPECT_EQ(remote("f"), "theirs, longer");
  EXPECT_EQ(copies(), (Names{"ours"}));
  EXPECT_EQ(remote("d/mine"), "ours");
  EXPECT_EQ(remote("d/their"), "x");
}

TEST_F(PushConflictTest, OthersFilesKeepADirectoryThatIsRemovedHere) {
  fs::create_directory(served("d"));
  write_file(served("d/f"), "x");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->remove("d/f").ok());
  ASSERT_TRUE(rig_->remove("d").ok());
  write_file(served("d/their"), "x");
  static_cast<void>(rig_->flush());
  EXPECT_EQ(listing(), (Names{"d", "d/their"}));
}

TEST_F(PushConflictTest, TwoMountsLoseNoVersion) {
  write_file(served("f"), "base");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  const auto other = mount("other");
  ASSERT_TRUE(rig_->write("f", "from the first").ok());
  ASSERT_TRUE(other->write("f", "from the second mount").ok());
  flush();
  EXPECT_EQ(remote("f"), "from the first");
  flush(*other);
  EXPECT_EQ(remote("f"), "from the first");
  EXPECT_EQ(copies(), (Names{"from the second mount"}));
  // And it rests there.
  const auto before = listing();
  flush();
  flush(*other);
  EXPECT_EQ(listing(), before);
}

TEST_F(PushConflictTest, TooManyDeletionsStopUntilSomebodySaysTheyAreMeant) {
  for (int i = 0; i < 10; ++i) write_file(served("f" + std::to_string(i)), "x");
  options_.max_delete = 5;
  start();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(rig_->remove("f" + std::to_string(i)).ok());
  const auto stopped = rig_->flush();
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code(), Errc::kRefused);
  EXPECT_EQ(listing().size(), 10U);
  EXPECT_FALSE(rig_->status().push.stopped.empty());
  rig_->resume();
  flush();
  EXPECT_EQ(listing(), Names{});
  // That was said of these only.
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(rig_->write("g" + std::to_string(i), "x").ok());
  flush();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(rig_->remove("g" + std::to_string(i)).ok());
  EXPECT_FALSE(rig_->flush().ok());
  EXPECT_EQ(listing().size(), 6U);
}

TEST_F(PushConflictTest, AnEmptiedSourceIsNotBelieved) {
  support::make_many_files(tree_.path(), 3, 30, 10);
  start();
  const auto all = listing();
  rig_.reset();
  for (const auto& entry : fs::directory_iterator(tree_.path())) fs::remove_all(entry.path());
  open();
  EXPECT_FALSE(rig_->status().push.stopped.empty());
  const auto shown = rig_->find(all.front());
  EXPECT_TRUE(shown.ok()) << shown.error().message();
  rig_->resume();
  EXPECT_TRUE(support::wait_until([&] { return !rig_->replica().lookup(kRootNode, all.front()).ok(); },
                                  std::chrono::seconds(60)));
}

}  // namespace
}  // namespace rsyncfs
