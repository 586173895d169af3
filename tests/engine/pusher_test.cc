// SPDX-License-Identifier: GPL-3.0-or-later
// Local changes on their way to a real server.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "sync/replica/database.h"
#include "tests/engine/push_rig.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using support::RsyncDaemon;
using support::write_file;
namespace fs = std::filesystem;

using PusherTest = PushTest;

TEST_F(PusherTest, ANewFileInANewDirectory) {
  start();
  ASSERT_TRUE(rig_->make_directory("d").ok());
  ASSERT_TRUE(rig_->write("d/f", "hello").ok());
  flush();
  EXPECT_EQ(remote("d/f"), "hello");
  EXPECT_EQ(listing(), (Names{"d", "d/f"}));
}

TEST_F(PusherTest, ItGoesByItselfWithinTheDelay) {
  options_.writeback_delay = std::chrono::milliseconds(100);
  start();
  ASSERT_TRUE(rig_->write("f", "hello").ok());
  EXPECT_TRUE(
      support::wait_until([&] { return exists("f") && remote("f") == "hello"; }, std::chrono::seconds(60)));
}

// A store that was written an hour from now is as if the clock had been set back.
class PushClockTest : public PushTest {
 protected:
  void write_in_the_future() {
    options_.writeback_delay = std::chrono::hours(2);
    start();
    ASSERT_TRUE(rig_->make_directory("d").ok());
    flush();
    ASSERT_TRUE(rig_->write("d/f", "hello").ok());
    rig_.reset();
    ASSERT_FALSE(exists("d/f"));
    auto db = Connection::open(store_ / "s/store.db", Connection::Mode::kWrite, 1 << 16);
    ASSERT_TRUE(db.ok());
    ASSERT_TRUE((*db)
                    ->execute("UPDATE base_nodes SET since_ms=since_ms+3600000;"
                              "UPDATE base_names SET since_ms=since_ms+3600000;"
                              "UPDATE nodes SET ctime_s=ctime_s+3600;")
                    .ok());
  }
};

TEST_F(PushClockTest, WhatWasChangedBeforeItWasSetBackIsFlushed) {
  write_in_the_future();
  open();
  flush();
  EXPECT_EQ(remote("d/f"), "hello");
}

TEST_F(PushClockTest, WhatWasChangedBeforeItWasSetBackGoesByItself) {
  write_in_the_future();
  options_.writeback_delay = std::chrono::milliseconds(100);
  open();
  EXPECT_TRUE(support::wait_until([&] { return exists("d/f") && remote("d/f") == "hello"; },
                                  std::chrono::seconds(60)));
}

TEST_F(PusherTest, AChangedFileGoesByDelta) {
  const std::string before = support::random_bytes(4 << 20, 5);
  write_file(served("f"), before);
  start();
  const auto node = rig_->find("f");
  ASSERT_TRUE(rig_->hydrate(node->id).ok());
  std::string after = before;
  after.replace(1 << 20, 5, "HELLO");
  ASSERT_TRUE(rig_->replica().local().write(node->id, 1 << 20, std::as_bytes(std::span("HELLO", 5))).ok());
  const uint64_t out = rig_->status().bytes_out;
  flush();
  EXPECT_TRUE(remote("f") == after);
  EXPECT_LT(rig_->status().bytes_out - out, 100'000U);
}

TEST_F(PusherTest, AFileThatGrewIsAppendedTo) {
  const std::string before = support::random_bytes(8 << 20, 6);
  write_file(served("log"), before);
  start();
  const auto node = rig_->find("log");
  ASSERT_TRUE(
      rig_->replica().local().write(node->id, before.size(), std::as_bytes(std::span("more", 4))).ok());
  const uint64_t out = rig_->status().bytes_out;
  flush();
  EXPECT_TRUE(remote("log") == before + "more");
  EXPECT_LT(rig_->status().bytes_out - out, 2'000U);
  EXPECT_FALSE(rig_->replica().content_state(node->id)->complete) << "nothing had to be fetched";
}

TEST_F(PusherTest, NamesAreMovedWithoutTheirBytes) {
  fs::create_directory(served("a"));
  fs::create_directory(served("b"));
  write_file(served("a/big"), support::random_bytes(1 << 20, 7));
  write_file(served("a/other"), "x");
  start();
  ASSERT_TRUE(rig_->rename("a/big", "b/big").ok());
  ASSERT_TRUE(rig_->rename("a/other", "a/another").ok());
  flush();
  EXPECT_EQ(listing(), (Names{"a", "a/another", "b", "b/big"}));
  EXPECT_LT(rig_->status().bytes_out, 20'000U);
  ASSERT_TRUE(rig_->rename("b", "c").ok());
  flush();
  EXPECT_EQ(listing(), (Names{"a", "a/another", "c", "c/big"}));
  ASSERT_TRUE(rig_->rename("c", "a/c").ok());
  flush();
  EXPECT_EQ(listing(), (Names{"a", "a/another", "a/c", "a/c/big"}));
}

// Whatever moment a reader comes at.
TEST_F(PusherTest, FilesAreReadWhileTheirDirectoryMoves) {
  constexpr int kFiles = 40;
  const auto name_of = [](int i) { return "f" + std::to_string(i); };
  fs::create_directories(served("a/d"));
  for (int i = 0; i < kFiles; ++i)
    write_file(served("a/d/" + name_of(i)), support::random_bytes(i % 8 == 0 ? 1'200'000 : 2'000, i));
  start();
  ASSERT_TRUE(rig_->wait_for_tree());
  for (const char* to : {"b", "c", "e", "g"}) {
    const std::string from = *to == 'b' ? "a" : std::string(1, *to == 'c' ? 'b' : *to == 'e' ? 'c' : 'e');
    ASSERT_TRUE(rig_->rename(from, to).ok());
    std::thread pushing([&] { EXPECT_TRUE(rig_->flush().ok()); });
    for (int i = to[0] % 4; i < kFiles; i += 4) {
      const auto file = rig_->find(std::string(to) + "/d/" + name_of(i));
      const auto here = file ? rig_->hydrate(file->id) : Result<void>(file.error());
      EXPECT_TRUE(here.ok()) << to << " " << i << ": " << here.error().message();
    }
    pushing.join();
  }
}

// A server moves a directory file by file.
TEST_F(PusherTest, DirectoriesComeAlongWithoutFilesInThem) {
  for (const char* name : {"a", "a/d", "a/d/e", "a/d/e/f", "a/d/full", "a/hollow", "a/hollow/h", "b"})
    fs::create_directory(served(name));
  write_file(served("a/d/full/x"), "x");
  support::set_mtime(served("a/d/full"), 1'000'000'000, 5);
  support::set_mtime(served("a/d/e/f"), 1'000'000'001, 5);
  start();
  ASSERT_TRUE(rig_->rename("a/d", "b/d").ok());
  flush();
  EXPECT_EQ(listing(),
            (Names{"a", "a/hollow", "a/hollow/h", "b", "b/d", "b/d/e", "b/d/e/f", "b/d/full", "b/d/full/x"}));
  ASSERT_TRUE(rig_->rename("b/d", "b/other").ok());
  ASSERT_TRUE(rig_->rename("a/hollow", "b/hollow").ok());
  flush();
  EXPECT_EQ(listing(), (Names{"a", "b", "b/hollow", "b/hollow/h", "b/other", "b/other/e", "b/other/e/f",
                              "b/other/full", "b/other/full/x"}));
  for (const auto& [name, time] :
       {std::pair("b/other/full", 1'000'000'000), std::pair("b/other/e/f", 1'000'000'001)}) {
    struct stat status {};
    ASSERT_EQ(::stat(served(name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mtim.tv_sec, time) << name;
  }
}

TEST_F(PusherTest, ASaveOverAFileAndARenameOverOne) {
  write_file(served("f"), "old");
  write_file(served("g"), "the other");
  start();
  ASSERT_TRUE(rig_->write("f.tmp", "new").ok());
  ASSERT_TRUE(rig_->rename("f.tmp", "f").ok());
  flush();
  EXPECT_EQ(remote("f"), "new");
  ASSERT_TRUE(rig_->rename("g", "f").ok());
  flush();
  EXPECT_EQ(remote("f"), "the other");
  EXPECT_EQ(listing(), (Names{"f"}));
}

TEST_F(PusherTest, FilesChangePlaces) {
  write_file(served("a"), "aaa");
  write_file(served("b"), "bbbb");
  start();
  ASSERT_TRUE(rig_->find("a").ok());
  ASSERT_TRUE(rig_->replica().local().rename(kRootNode, "a", kRootNode, "b", RenameMode::kExchange).ok());
  flush();
  EXPECT_EQ(remote("a"), "bbbb");
  EXPECT_EQ(remote("b"), "aaa");
  EXPECT_EQ(listing(), (Names{"a", "b"}));
}

TEST_F(PusherTest, ATreeIsRemoved) {
  fs::create_directories(served("a/b/c"));
  write_file(served("a/b/c/f"), "x");
  write_file(served("a/g"), "x");
  write_file(served("kept"), "x");
  start();
  for (const char* path : {"a/b/c/f", "a/b/c", "a/b", "a/g", "a"})
    ASSERT_TRUE(rig_->remove(path).ok()) << path;
  flush();
  EXPECT_EQ(listing(), (Names{"kept"}));
}

TEST_F(PusherTest, AttributesAndTimes) {
  write_file(served("f"), "x");
  fs::create_directory(served("d"));
  start();
  auto& local = rig_->replica().local();
  const auto file = rig_->find("f");
  const auto dir = rig_->find("d");
  ASSERT_TRUE(
      local.change_attributes(file->id, {.permissions = 0600, .mtime = FileTime{1'000'000'000, 5}}).ok());
  ASSERT_TRUE(rig_->write("d/in", "x").ok());
  ASSERT_TRUE(
      local.change_attributes(dir->id, {.permissions = 0700, .mtime = FileTime{1'100'000'000, 0}}).ok());
  flush();
  struct stat got {};
  ASSERT_EQ(::stat(served("f").c_str(), &got), 0);
  EXPECT_EQ(got.st_mode & 07777, 0600U);
  EXPECT_EQ(got.st_mtim.tv_sec, 1'000'000'000);
  EXPECT_EQ(got.st_mtim.tv_nsec, 5);
  ASSERT_EQ(::stat(served("d").c_str(), &got), 0);
  EXPECT_EQ(got.st_mode & 07777, 0700U);
  EXPECT_EQ(got.st_mtim.tv_sec, 1'100'000'000);
}

TEST_F(PusherTest, LinksOfEveryKind) {
  write_file(served("f"), "x");
  start();
  auto& local = rig_->replica().local();
  const auto file = rig_->find("f");
  ASSERT_TRUE(local.link(file->id, kRootNode, "g").ok());
  NewNode link;
  link.mode = S_IFLNK | 0777;
  link.link_target = "f";
  ASSERT_TRUE(local.create(kRootNode, "s", link).ok());
  NewNode fifo;
  fifo.mode = S_IFIFO | 0600;
  ASSERT_TRUE(local.create(kRootNode, "p", fifo).ok());
  flush();
  struct stat got {};
  ASSERT_EQ(::stat(served("g").c_str(), &got), 0);
  EXPECT_EQ(got.st_nlink, 2U);
  EXPECT_EQ(fs::read_symlink(served("s")).string(), "f");
  EXPECT_TRUE(fs::is_fifo(served("p")));
  // New contents reach every name.
  ASSERT_TRUE(rig_->write("f", "changed").ok());
  flush();
  EXPECT_EQ(remote("g"), "changed");
  ASSERT_EQ(::stat(served("g").c_str(), &got), 0);
  EXPECT_EQ(got.st_nlink, 2U);
  EXPECT_EQ(listing(), (Names{"f", "g", "p", "s"}));
}

TEST_F(PusherTest, WhatIsPendingIsPushedByTheNextMount) {
  write_file(served("f"), "old");
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  ASSERT_TRUE(rig_->write("f", "new").ok());
  rig_.reset();
  EXPECT_EQ(remote("f"), "old");
  open();
  flush();
  EXPECT_EQ(remote("f"), "new");
}

TEST_F(PusherTest, AFileThatCannotBeWrittenHoldsNobodyElseUp) {
  fs::create_directory(served("d"));
  auto options = writable(tree_.path());
  options.modules[0].parameters.emplace_back("exclude", "/secret");
  start(std::move(options));
  ASSERT_TRUE(rig_->write("secret", "x").ok());
  ASSERT_TRUE(rig_->write("d/good", "x").ok());
  const auto done = rig_->flush();
  ASSERT_FALSE(done.ok());
  EXPECT_NE(done.error().message().find("secret"), std::string::npos) << done.error().message();
  EXPECT_EQ(remote("d/good"), "x");
  EXPECT_EQ(rig_->status().push.failing.size(), 1U);
  EXPECT_EQ(rig_->status().push.pending_names, 1U);
}

TEST_F(PusherTest, AReadOnlyModuleIsToldAtOnce) {
  start(RsyncDaemon::serving(tree_.path()));
  ASSERT_TRUE(rig_->write("f", "x").ok());
  const auto done = rig_->flush();
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), Errc::kRefused) << done.error().message();
  EXPECT_NE(done.error().message().find("read only"), std::string::npos) << done.error().message();
}

TEST_F(PusherTest, OneConnectionIsEnough) {
  write_file(served("f"), "old");
  auto options = writable(tree_.path());
  options.modules[0].parameters = {{"max connections", "1"}, {"lock file", store_ / "lock"}};
  start(std::move(options));
  ASSERT_TRUE(rig_->write("f", "new").ok());
  ASSERT_TRUE(rig_->make_directory("d").ok());
  flush();
  EXPECT_EQ(remote("f"), "new");
}

}  // namespace
}  // namespace rsyncfs
