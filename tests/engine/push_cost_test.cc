// SPDX-License-Identifier: GPL-3.0-or-later
// How many sessions and bytes a change takes, and that what is saved is no check.
#include <sys/stat.h>

#include <filesystem>
#include <functional>

#include <gtest/gtest.h>

#include "tests/engine/push_rig.h"

namespace rsyncfs {
namespace {

using support::write_file;
namespace fs = std::filesystem;

class PushCostTest : public PushTest {
 protected:
  PushCostTest() { options_.writeback_delay = std::chrono::seconds(1000); }  // all of it by the flush

  uint64_t sessions_of(const std::function<void()>& changes) {
    changes();
    const uint64_t before = rig_->status().sessions_opened;
    flush();
    return rig_->status().sessions_opened - before;
  }
  std::string content(const std::string& path) {
    const auto read = rig_->read_all(path);
    return read.ok() ? *read : read.error().message();
  }
};

TEST_F(PushCostTest, OneLookServesEveryKindOfChange) {
  for (const char* name : {"edited", "chmodded", "removed", "renamed"}) write_file(served(name), name);
  start();
  const auto chmodded = rig_->find("chmodded");
  const auto sessions = sessions_of([&] {
    ASSERT_TRUE(rig_->write("edited", "otherwise").ok());
    ASSERT_TRUE(rig_->replica().local().change_attributes(chmodded->id, {.permissions = 0600}).ok());
    ASSERT_TRUE(rig_->remove("removed").ok());
    ASSERT_TRUE(rig_->rename("renamed", "again").ok());
    ASSERT_TRUE(rig_->make_directory("d").ok());
  });
  EXPECT_LE(sessions, 8U) << "one look, one session for each kind, two for what was replaced";
  EXPECT_EQ(listing(), (Names{"again", "chmodded", "d", "edited"}));
  EXPECT_EQ(remote("edited"), "otherwise");
}

TEST_F(PushCostTest, NewDirectoriesAndFilesNeedNoLook) {
  start();
  const auto sessions = sessions_of([&] {
    for (const std::string directory : {"a", "b", "c"}) {
      ASSERT_TRUE(rig_->make_directory(directory).ok());
      for (const char* name : {"/x", "/y"}) ASSERT_TRUE(rig_->write(directory + name, "new").ok());
    }
  });
  EXPECT_LE(sessions, 3U) << "directories, contents, times of the directories";
  EXPECT_EQ(remote("c/y"), "new");
}

TEST_F(PushCostTest, ATreeIsRemovedByOneLookAndOneSession) {
  fs::create_directories(served("t/a/b"));
  fs::create_directories(served("t/c"));
  for (const char* name : {"t/f", "t/a/f", "t/a/b/f", "t/c/f"}) write_file(served(name), name);
  start();
  ASSERT_TRUE(rig_->find("t/a/b/f").ok());
  const auto sessions = sessions_of([&] {
    for (const char* name : {"t/f", "t/a/f", "t/a/b/f", "t/c/f", "t/a/b", "t/a", "t/c", "t"})
      ASSERT_TRUE(rig_->remove(name).ok()) << name;
  });
  EXPECT_LE(sessions, 2U);
  EXPECT_EQ(listing(), Names());
}

TEST_F(PushCostTest, ADirectoryIsRenamedByOneLookAndThreeSessions) {
  fs::create_directories(served("old/sub"));
  for (const char* name : {"old/f", "old/sub/f"}) write_file(served(name), name);
  start();
  ASSERT_TRUE(rig_->find("old/sub/f").ok());
  const auto sessions = sessions_of([&] { ASSERT_TRUE(rig_->rename("old", "new").ok()); });
  EXPECT_LE(sessions, 6U) << "and two for the times of directories";
  EXPECT_EQ(listing(), (Names{"new", "new/f", "new/sub", "new/sub/f"}));
}

TEST_F(PushCostTest, AFewNewFilesGoAlongWithChangedOnes) {
  write_file(served("f"), "old");
  start();
  const auto sessions = sessions_of([&] {
    ASSERT_TRUE(rig_->write("f", "changed").ok());
    ASSERT_TRUE(rig_->write("g", "new").ok());
  });
  EXPECT_LE(sessions, 4U);
  EXPECT_EQ(remote("f"), "changed");
  EXPECT_EQ(remote("g"), "new");
}

TEST_F(PushCostTest, ManySmallFilesWithAnyNumberOfConnections) {
  for (const char* most : {"1", "2", "9"}) {
    SCOPED_TRACE(most);
    const std::string directory = std::string("d") + most;
    fs::create_directory(served(directory));
    auto options = writable(tree_.path());
    options.modules[0].parameters = {{"max connections", most}, {"lock file", store_ / most}};
    rig_.reset();
    server_ = std::make_unique<support::RsyncDaemon>(std::move(options));
    rig_ = mount(directory);
    ASSERT_TRUE(rig_->find(directory).ok());
    for (int i = 0; i < 100; ++i) {
      const std::string name = directory + "/f" + std::to_string(i);
      ASSERT_TRUE(rig_->write(name, name).ok());
    }
    flush();
    for (int i = 0; i < 100; ++i) {
      const std::string name = directory + "/f" + std::to_string(i);
      EXPECT_EQ(remote(name), name);
    }
  }
}

// What was made here before the first list came was never at the source, so nothing has gone from there.
TEST_F(PushCostTest, ManyNewFilesOnAnEmptySourceAreNotAnEmptiedOne) {
  server_ = std::make_unique<support::RsyncDaemon>(writable(tree_.path()));
  options_.read_only = true;
  rig_ = mount("s");
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(rig_->write("f" + std::to_string(i), "new").ok());
  rig_.reset();
  options_.read_only = false;
  rig_ = mount("s");
  flush();
  EXPECT_EQ(listing().size(), 150U);
}

// What others made meanwhile under the same names is not what was expected, whoever looks.
TEST_F(PushCostTest, NamesThatOthersTookMeanwhileStayTheirs) {
  write_file(served("f"), "old");
  start();
  ASSERT_TRUE(rig_->write("f", "changed").ok());
  ASSERT_TRUE(rig_->write("g", "ours").ok());
  ASSERT_TRUE(rig_->make_directory("d").ok());
  ASSERT_TRUE(rig_->write("d/in", "ours, too").ok());
  fs::create_symlink("elsewhere", served("g"));
  write_file(served("d"), "theirs");
  flush();
  EXPECT_EQ(remote("f"), "changed");
  EXPECT_EQ(fs::read_symlink(served("g")).string(), "elsewhere");
  EXPECT_EQ(remote("d"), "theirs");
  size_t copies = 0;
  for (const std::string& name : listing()) {
    if (name.find(".conflict-") == std::string::npos) continue;
    ++copies;
    if (name.starts_with("g.")) {
      EXPECT_EQ(remote(name), "ours");
    }
    if (name.ends_with("/in")) {
      EXPECT_EQ(remote(name), "ours, too");
    }
  }
  EXPECT_EQ(copies, 3U) << "the file, the directory, and what is in it";
}

// A look is only good for what it saw: what changes between the batches of one plan is seen by the next look.
TEST_F(PushCostTest, ADirectoryThatOthersReplacedGetsNoAttributes) {
  fs::create_directory(served("d"));
  start();
  const auto directory = rig_->find("d");
  ASSERT_TRUE(rig_->replica().local().change_attributes(directory->id, {.permissions = 0700}).ok());
  fs::remove(served("d"));
  write_file(served("d"), "theirs");
  const auto done = rig_->flush();
  EXPECT_EQ(remote("d"), "theirs") << (done.ok() ? "" : done.error().message());
}

TEST_F(PushCostTest, AFewBytesInALargeFileAreAFewBytesOnTheWire) {
  const std::string before = support::random_bytes(16 << 20, 11);
  for (const bool refused : {false, true}) {
    SCOPED_TRACE(refused);
    const std::string name = refused ? "g" : "f";
    write_file(served(name), before);
    auto options = writable(tree_.path());
    if (refused) options.modules[0].parameters.emplace_back("refuse options", "compress");
    rig_.reset();
    server_ = std::make_unique<support::RsyncDaemon>(std::move(options));
    rig_ = mount(name);
    const auto node = rig_->find(name);
    ASSERT_TRUE(rig_->hydrate(node->id).ok());
    std::string after = before;
    after.replace(7 << 20, 5, "HELLO");
    ASSERT_TRUE(rig_->replica().local().write(node->id, 7 << 20, std::as_bytes(std::span("HELLO", 5))).ok());
    const auto status = rig_->status();
    flush();
    EXPECT_TRUE(remote(name) == after);
    const auto now = rig_->status();
    const uint64_t moved = now.bytes_out + now.bytes_in - status.bytes_out - status.bytes_in;
    EXPECT_LT(moved, refused ? 40'000U : 8'000U);
  }
}

}  // namespace
}  // namespace rsyncfs
