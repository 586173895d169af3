// SPDX-License-Identifier: GPL-3.0-or-later
// Sessions that are opened before it is known whether their list may go out: what others change by then is
// noticed as ever, and a server that allows fewer gets no more.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/push_rig.h"
#include "tests/support/unreliable_link.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;
using support::write_file;
namespace fs = std::filesystem;

// The server hears of a session's list two and a half round trips after the session was begun, or one and a
// half where it is told all at once; by then its connection is there for half a round trip at least.
constexpr milliseconds kOneWay{200};
constexpr milliseconds kConnected{250};

class PushAheadTest : public PushTest {
 protected:
  void start_known() {
    options_.writeback_delay = std::chrono::seconds(1000);
    options_.keep_ready = false;  // a look on it would be over before anybody could change something
    server_ = std::make_unique<support::RsyncDaemon>(writable(tree_.path()));
    link_ = std::make_unique<support::UnreliableLink>(server_->port());
    rig_ = std::make_unique<EngineRig>("rsync://127.0.0.1:" + std::to_string(link_->port()) + "/m",
                                       store_ / "s", options_);
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
  }
  // What is listed by itself is over. Names go by themselves a fifth of a second after they were changed.
  void go_far_away() {
    std::this_thread::sleep_for(milliseconds(500));
    link_->delay(kOneWay);
  }
  // The change of ours is pushed, and `theirs` is made at the source when the sessions for that are open, and
  // none of them has asked anything.
  void push_while(const std::function<void()>& theirs) {
    std::thread pushing([this] { static_cast<void>(rig_->flush()); });
    std::this_thread::sleep_for(kConnected);
    theirs();
    pushing.join();
    link_->heal();
    flush();
  }
  // The contents of all files whose name begins so, sorted.
  Names versions_of(const std::string& name) const {
    Names out;
    for (const std::string& one : listing()) {
      if (one == name || one.starts_with(name + ".conflict-")) out.push_back(remote(one));
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  std::unique_ptr<support::UnreliableLink> link_;
};

TEST_F(PushAheadTest, AnotherVersionOfWhatIsEdited) {
  write_file(served("f"), "base");
  start_known();
  ASSERT_TRUE(rig_->find("f").ok());
  go_far_away();
  ASSERT_TRUE(rig_->write("f", "ours").ok());
  push_while([&] { write_file(served("f"), "theirs, longer"); });
  EXPECT_EQ(remote("f"), "theirs, longer");
  EXPECT_EQ(versions_of("f"), (Names{"ours", "theirs, longer"}));
}

TEST_F(PushAheadTest, AnotherVersionOfWhatIsSavedOver) {
  write_file(served("f"), "base");
  start_known();
  ASSERT_TRUE(rig_->find("f").ok());
  go_far_away();
  ASSERT_TRUE(rig_->write("f.new", "ours").ok());
  ASSERT_TRUE(rig_->rename("f.new", "f").ok());
  push_while([&] { write_file(served("f"), "theirs, longer"); });
  EXPECT_EQ(versions_of("f"), (Names{"ours", "theirs, longer"}));
}

// A server that is sent a file's entry removes an empty directory of that name before it asks for anything.
TEST_F(PushAheadTest, AnEmptyDirectoryInThePlaceOfWhatIsEdited) {
  write_file(served("f"), "base");
  start_known();
  ASSERT_TRUE(rig_->find("f").ok());
  go_far_away();
  ASSERT_TRUE(rig_->write("f", "ours").ok());
  push_while([&] {
    fs::remove(served("f"));
    fs::create_directory(served("f"));
  });
  EXPECT_TRUE(fs::is_directory(served("f")));
  Names copies;
  for (const std::string& one : listing()) {
    if (one.starts_with("f.conflict-")) copies.push_back(remote(one));
  }
  EXPECT_EQ(copies, (Names{"ours"}));
}

TEST_F(PushAheadTest, AnotherVersionOfWhatIsRemoved) {
  write_file(served("f"), "base");
  start_known();
  ASSERT_TRUE(rig_->find("f").ok());
  go_far_away();
  ASSERT_TRUE(rig_->remove("f").ok());
  push_while([&] { write_file(served("f"), "theirs, longer"); });
  EXPECT_EQ(remote("f"), "theirs, longer");
}

TEST_F(PushAheadTest, AFileInATreeThatIsRemoved) {
  fs::create_directories(served("t/a/b"));
  for (const char* name : {"t/f", "t/a/f", "t/a/b/f"}) write_file(served(name), "base");
  start_known();
  for (const char* name : {"t/a/b/f", "t/a/b", "t/a/f", "t/a", "t/f", "t"}) {
    ASSERT_TRUE(rig_->find(name).ok());
  }
  go_far_away();
  for (const char* name : {"t/a/b/f", "t/a/b", "t/a/f", "t/a", "t/f", "t"}) {
    ASSERT_TRUE(rig_->remove(name).ok()) << name;
  }
  push_while([&] { write_file(served("t/a/f"), "theirs, longer"); });
  EXPECT_EQ(listing(), (Names{"t", "t/a", "t/a/f"}));
  EXPECT_EQ(rig_->read_all("t/a/f").value(), "theirs, longer");
}

TEST_F(PushAheadTest, ANewFileInATreeThatIsRemoved) {
  fs::create_directories(served("t/a"));
  write_file(served("t/a/f"), "base");
  start_known();
  for (const char* name : {"t/a/f", "t/a", "t"}) ASSERT_TRUE(rig_->find(name).ok());
  go_far_away();
  for (const char* name : {"t/a/f", "t/a", "t"}) ASSERT_TRUE(rig_->remove(name).ok()) << name;
  push_while([&] { write_file(served("t/a/theirs"), "x"); });
  EXPECT_EQ(listing(), (Names{"t", "t/a", "t/a/theirs"}));
}

TEST_F(PushAheadTest, ANameThatSomethingMovesTo) {
  for (const char* directory : {"from", "to"}) fs::create_directory(served(directory));
  write_file(served("from/f"), "ours");
  start_known();
  go_far_away();
  ASSERT_TRUE(rig_->rename("from/f", "to/f").ok());
  push_while([&] { write_file(served("to/f"), "theirs"); });
  EXPECT_EQ(remote("to/f"), "theirs");
  bool ours = exists("from/f");
  for (const std::string& one : listing())
    ours = ours || (one.starts_with("to/f.conflict-") && remote(one) == "ours");
  EXPECT_TRUE(ours);
}

TEST_F(PushAheadTest, TheNewNameOfADirectory) {
  fs::create_directory(served("old"));
  write_file(served("old/f"), "f");
  start_known();
  ASSERT_TRUE(rig_->find("old/f").ok());
  go_far_away();
  ASSERT_TRUE(rig_->rename("old", "new").ok());
  push_while([&] {
    fs::create_directory(served("new"));
    fs::permissions(served("new"), fs::perms::owner_all);
    write_file(served("new/theirs"), "x");
  });
  EXPECT_EQ(remote("new/theirs"), "x");
  EXPECT_EQ(fs::status(served("new")).permissions(), fs::perms::owner_all);
  const Names all = listing();
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const std::string& one) { return one.ends_with("/f"); }),
            1);
}

TEST_F(PushAheadTest, WhatADirectoryThatIsRenamedGetsMeanwhile) {
  fs::create_directory(served("old"));
  write_file(served("old/f"), "f");
  start_known();
  ASSERT_TRUE(rig_->find("old/f").ok());
  go_far_away();
  ASSERT_TRUE(rig_->rename("old", "new").ok());
  push_while([&] { write_file(served("old/theirs"), "x"); });
  EXPECT_EQ(listing(), (Names{"new", "new/f", "new/theirs"}));
}

TEST_F(PushAheadTest, AnotherFileInThePlaceOfWhatIsChmodded) {
  write_file(served("f"), "base");
  start_known();
  const auto node = rig_->find("f");
  go_far_away();
  ASSERT_TRUE(rig_->replica().local().change_attributes(node->id, {.permissions = 0600}).ok());
  push_while([&] {
    fs::remove(served("f"));
    fs::create_directory(served("f"));
    fs::permissions(served("f"), fs::perms::owner_all | fs::perms::group_read);
  });
  EXPECT_EQ(fs::status(served("f")).permissions(), fs::perms::owner_all | fs::perms::group_read);
}

// What is due by itself is looked at before that: what changes in between is seen by its blocks, or when it
// was replaced.
TEST_F(PushAheadTest, AChangeBetweenTheEarlyLookAndTheContents) {
  constexpr int kRounds = 12;
  for (int i = 0; i < kRounds; ++i) write_file(served("f" + std::to_string(i)), "base");
  options_.writeback_delay = milliseconds(600);
  server_ = std::make_unique<support::RsyncDaemon>(writable(tree_.path()));
  link_ = std::make_unique<support::UnreliableLink>(server_->port());
  link_->delay(milliseconds(25));
  rig_ = std::make_unique<EngineRig>("rsync://127.0.0.1:" + std::to_string(link_->port()) + "/m",
                                     store_ / "s", options_);
  ASSERT_TRUE(rig_->start().ok());
  ASSERT_TRUE(rig_->wait_for_tree());
  for (int i = 0; i < kRounds; ++i) {
    const std::string name = "f" + std::to_string(i);
    SCOPED_TRACE(name);
    ASSERT_TRUE(rig_->read_all(name).ok());
    ASSERT_TRUE(rig_->write(name, "ours").ok());
    // From before the look begins until after the contents have come.
    std::this_thread::sleep_for(milliseconds(400 + 40 * i));
    write_file(served("made"), "theirs, longer");
    ASSERT_EQ(::renameat2(AT_FDCWD, served("made").c_str(), AT_FDCWD, served(name).c_str(), RENAME_EXCHANGE),
              0);
    const std::string replaced = remote("made");
    fs::remove(served("made"));
    flush();
    const Names found = versions_of(name);
    EXPECT_NE(std::find(found.begin(), found.end(), "theirs, longer"), found.end());
    const bool has_ours = std::find(found.begin(), found.end(), "ours") != found.end();
    EXPECT_TRUE(has_ours || replaced == "ours");
  }
}

class PushAheadLimitTest : public PushAheadTest, public testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Connections, PushAheadLimitTest, testing::Values("1", "2", "3"),
                         [](const auto& most) { return std::string("at_most_") + most.param; });

TEST_P(PushAheadLimitTest, AServerOfFewConnectionsGetsAll) {
  fs::create_directories(served("old/sub"));
  fs::create_directories(served("t/a/b"));
  for (const char* name : {"old/f", "old/sub/g", "t/f", "t/a/f", "t/a/b/f", "edited"})
    write_file(served(name), "base");
  auto options = writable(tree_.path());
  options.modules[0].parameters = {{"max connections", GetParam()}, {"lock file", store_ / "lock"}};
  start(std::move(options));
  for (const char* name : {"old/sub/g", "t/a/b/f", "t/a/f", "t/f"}) ASSERT_TRUE(rig_->find(name).ok());
  ASSERT_TRUE(rig_->rename("old", "new").ok());
  ASSERT_TRUE(rig_->write("edited", "ours").ok());
  for (const char* name : {"t/a/b/f", "t/a/b", "t/a/f", "t/a", "t/f", "t"})
    ASSERT_TRUE(rig_->remove(name).ok()) << name;
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(rig_->write("n" + std::to_string(i), "new").ok());
  EXPECT_TRUE(support::wait_until(
      [&] {
        return exists("new/sub/g") && !exists("old") && !exists("t") && exists("n49") &&
               remote("edited") == "ours";
      },
      std::chrono::seconds(60)));
  flush();
  EXPECT_EQ(listing().size(), 55U);
}

}  // namespace
}  // namespace rsyncfs
