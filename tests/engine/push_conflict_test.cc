// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of changes that both sides made.
#include <sys/stat.h>

#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/push_rig.h"
#include "tests/support/metered_proxy.h"
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
  flush();
  EXPECT_EQ(listing(), (Names{"d", "d/their"}));
  EXPECT_EQ(rig_->read_all("d/their").value(), "x");
}

// As a server's temporary file, whose connection broke.
TEST_F(PushConflictTest, WhatOthersRemoveInTimeKeepsNoDirectory) {
  fs::create_directory(served("d"));
  write_file(served("d/f"), "x");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->remove("d/f").ok());
  ASSERT_TRUE(rig_->remove("d").ok());
  write_file(served("d/.f.abcdef"), "x");
  std::thread others([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    fs::remove(served("d/.f.abcdef"));
  });
  flush();
  others.join();
  EXPECT_EQ(listing(), Names());
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

// A second mount of the same source, through a link that can be stopped in the middle of its pushes.
class PushRaceTest : public PushConflictTest {
 protected:
  void start_both() {
    options_.writeback_delay = std::chrono::seconds(1000);
    for (size_t i = 0; i < kMostFiles; ++i) write_file(served(name_of(i)), "base");
    start();
    proxy_ = std::make_unique<support::MeteredProxy>(server_->port());
    open_other();
  }
  void open_other() {
    other_.reset();  // the store has one owner
    other_ = std::make_unique<EngineRig>("rsync://127.0.0.1:" + std::to_string(proxy_->port()) + "/m",
                                         store_ / "other", options_);
    ASSERT_TRUE(other_->start().ok());
    ASSERT_TRUE(other_->wait_for_tree());
  }
  // What there is by that name, and in copies of it.
  Names versions_of(const std::string& name) const {
    Names out;
    for (const std::string& one : listing()) {
      if (one == name || one.starts_with(name + ".conflict-")) out.push_back(remote(one));
    }
    return out;
  }
  // The other mount's push of each file is stopped after one piece more of what it says and hears, a push
  // happens here meanwhile, then it goes on; or for one piece only, and its link is cut or its process ends.
  enum class Then : uint8_t { kItGoesOn, kItIsCut, kItEnds };
  void walk(Then then) {
    const auto theirs = [&](const std::string& name) {
      ASSERT_TRUE(other_->write(name, "from the second mount").ok());
    };
    wait_for_silence();
    theirs(name_of(0));
    flush(*other_);
    const std::vector<uint64_t> pieces = proxy_->pieces();
    ASSERT_GT(pieces.size(), 8U);
    ASSERT_LT(pieces.size(), kMostFiles);
    for (size_t i = 0; i < pieces.size(); ++i) {
      SCOPED_TRACE(i);
      const std::string name = name_of(i + 1);
      wait_for_silence();
      theirs(name);
      // Whatever lists show of the other's version, this is a change to the one before.
      ASSERT_TRUE(rig_->write(name, "from the first").ok());
      proxy_->stop_after(pieces[i], [] {});
      std::thread pushing([&] { static_cast<void>(other_->flush()); });
      support::wait_until([&] { return proxy_->stopped(); }, std::chrono::seconds(2));
      flush();
      if (then != Then::kItGoesOn) {
        proxy_->stop_after(i + 1 < pieces.size() ? pieces[i + 1] - pieces[i] : 1, [] {});
        support::wait_until([&] { return proxy_->stopped(); }, kTaken);
        std::this_thread::sleep_for(kTaken);  // the server does what it was told
      }
      if (then == Then::kItIsCut) proxy_->cut();
      if (then == Then::kItEnds) other_->syncer().shut_down([] {});
      proxy_->release();
      pushing.join();
      if (then == Then::kItEnds) open_other();
      flush(*other_);
      flush();
      const Names found = versions_of(name);
      for (const char* version : {"from the first", "from the second mount"})
        EXPECT_NE(std::find(found.begin(), found.end(), version), found.end()) << version;
    }
    for (const std::string& name : listing()) EXPECT_FALSE(name.starts_with(".")) << name;
  }
  // The same, when a symbolic link takes the file's place at the source meanwhile.
  void walk_links() {
    wait_for_silence();
    ASSERT_TRUE(other_->write(name_of(0), "from the second mount").ok());
    flush(*other_);
    const std::vector<uint64_t> pieces = proxy_->pieces();
    ASSERT_LT(pieces.size(), kMostFiles);
    for (size_t i = 0; i < pieces.size(); ++i) {
      SCOPED_TRACE(i);
      const std::string name = name_of(i + 1);
      wait_for_silence();
      ASSERT_TRUE(other_->write(name, "from the second mount").ok());
      proxy_->stop_after(pieces[i], [] {});
      std::thread pushing([&] { static_cast<void>(other_->flush()); });
      support::wait_until([&] { return proxy_->stopped(); }, std::chrono::seconds(2));
      // Then it is ours that the link replaces, which is what whoever made it has seen.
      const bool arrived = remote(name) == "from the second mount";
      fs::create_symlink("to " + name, served("made"));
      fs::rename(served("made"), served(name));
      proxy_->release();
      pushing.join();
      flush(*other_);
      Names links;
      Names files;
      for (const std::string& one : listing()) {
        if (one != name && !one.starts_with(name + ".conflict-")) continue;
        fs::is_symlink(served(one)) ? links.push_back(fs::read_symlink(served(one)).string())
                                    : files.push_back(remote(one));
      }
      EXPECT_EQ(links, (Names{"to " + name}));
      if (arrived) continue;
      EXPECT_EQ(files, (Names{"from the second mount"}));
    }
    for (const std::string& name : listing()) EXPECT_FALSE(name.starts_with(".")) << name;
  }
  // What conflicts are followed by is not counted.
  void wait_for_silence() {
    do {
      proxy_->count();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } while (!proxy_->pieces().empty());
  }
  // All of one length, so that the pieces are.
  static std::string name_of(size_t file) { return "f" + std::to_string(100 + file); }

  static constexpr size_t kMostFiles = 100;
  static constexpr std::chrono::milliseconds kTaken{50};
  std::unique_ptr<support::MeteredProxy> proxy_;
  std::unique_ptr<EngineRig> other_;
};

TEST_F(PushRaceTest, NoVersionIsLostBetweenTheLookAndTheRename) {
  start_both();
  walk(Then::kItGoesOn);
}

TEST_F(PushRaceTest, NoLinkIsLostBetweenTheLookAndTheContents) {
  start_both();
  walk_links();
}

TEST_F(PushRaceTest, NoVersionIsLostWhenTheLinkBreaksThen) {
  start_both();
  walk(Then::kItIsCut);
}

TEST_F(PushRaceTest, NoVersionIsLostWhenTheMountEndsThen) {
  start_both();
  walk(Then::kItEnds);
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

class PushRootTest : public PushConflictTest {
 protected:
  void mount_a_root_that_goes_away() {
    fs::create_directory(served("root"));
    write_file(served("root/f"), "f");
    server_ = std::make_unique<support::RsyncDaemon>(writable(tree_.path()));
    rig_ = std::make_unique<EngineRig>(server_->url() + "/root", store_ / "s", options_);
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
    fs::rename(served("root"), served("away"));
  }
};

// A file that is there now is not written over, nor is everything taken for removed.
TEST_F(PushRootTest, ARootThatIsNoDirectoryAnyMoreIsNotBelieved) {
  mount_a_root_that_goes_away();
  write_file(served("root"), "somebody's");
  ASSERT_TRUE(rig_->write("g", "new").ok());
  EXPECT_FALSE(rig_->flush().ok());
  EXPECT_EQ(remote("root"), "somebody's");
  EXPECT_TRUE(rig_->find("f").ok());
  EXPECT_FALSE(rig_->status().push.stopped.empty());
  fs::remove(served("root"));
  fs::rename(served("away"), served("root"));
  rig_->resume();
  flush();
  EXPECT_EQ(remote("root/g"), "new");
  EXPECT_EQ(remote("root/f"), "f");
}

// As where a disk is not mounted.
TEST_F(PushRootTest, ARootThatIsGoneIsNotBegunAnew) {
  mount_a_root_that_goes_away();
  ASSERT_TRUE(rig_->write("g", "new").ok());
  EXPECT_FALSE(rig_->flush().ok());
  EXPECT_EQ(listing(), (Names{"away", "away/f"}));
  EXPECT_TRUE(rig_->find("f").ok());
  fs::rename(served("away"), served("root"));
  flush();
  EXPECT_EQ(listing(), (Names{"root", "root/f", "root/g"}));
}

}  // namespace
}  // namespace rsyncfs
