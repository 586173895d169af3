// SPDX-License-Identifier: GPL-3.0-or-later
// What the source renames is told as renamed to those who watch with inotify(7), and nobody else notices.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/mount/watcher.h"
#include "tests/mount/writable_mount.h"

namespace rsyncfs::mount_tests {
namespace {

class WatchRename : public ::testing::Test {
 protected:
  WatchRename() {
    for (const char* directory : {"d", "e"}) support::make_dirs(mount_.served() + "/" + directory);
    int time = 0;
    for (const char* name : {"d/a", "d/b", "e/c"}) put(name, std::string("of ") + name, ++time);
    EXPECT_EQ(mount_.mount_again(), "");
    EXPECT_TRUE(wait_for_tree(mount_.mount()));
    for (const char* name : {"d/a", "d/b", "e/c"}) EXPECT_EQ(text(name), std::string("of ") + name);
  }
  // What was done again through the mount has changed nothing.
  void TearDown() override {
    EXPECT_EQ(mount_.flush(), "");
    EXPECT_EQ(mount_.mount().status_number("/push/pending_names"), 0);
    EXPECT_EQ(mount_.mount().status_number("/push/pending_nodes"), 0);
    EXPECT_EQ(mount_.differences(), "");
  }

  std::string there(const std::string& name) const { return mount_.served() + "/" + name; }
  std::string here(const std::string& name) const { return mount_ / name; }
  std::string text(const std::string& name) const { return read_whole(here(name)).bytes; }
  void put(const std::string& name, const std::string& bytes, int64_t time) const {
    support::write_file(there(name), bytes);
    support::set_mtime(there(name), 1'700'000'000 + time, 5);
  }
  void rename(const std::string& from, const std::string& to) const {
    ASSERT_EQ(::rename(there(from).c_str(), there(to).c_str()), 0);
  }
  // In that directory, by something that is sure to come.
  bool is_told(Watcher& watcher, const std::string& directory) {
    for (int i = 0; i < 40; ++i) {
      const std::string name = "probe" + std::to_string(++probes_);
      support::write_file(there(directory + "/" + name), "x");
      if (watcher.sees(IN_CREATE, name, seconds(2))) return true;
    }
    return false;
  }

  WritableMount mount_;
  int probes_ = 0;
};

TEST_F(WatchRename, InItsDirectory) {
  Watcher watcher(here("d"));
  Watcher file(here("d/a"));
  ASSERT_TRUE(is_told(watcher, "d"));
  const int open_one = ::open(here("d/a").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(open_one, 0);
  rename("d/a", "d/renamed");
  ASSERT_TRUE(watcher.sees(IN_MOVED_TO, "renamed")) << watcher.all() << mount_.mount().log();
  ASSERT_TRUE(watcher.saw(IN_MOVED_FROM, "a")) << watcher.all();
  EXPECT_NE(watcher.cookie_of(IN_MOVED_FROM, "a"), 0U);
  EXPECT_EQ(watcher.cookie_of(IN_MOVED_FROM, "a"), watcher.cookie_of(IN_MOVED_TO, "renamed"));
  EXPECT_FALSE(watcher.saw(IN_DELETE, "a"));
  EXPECT_FALSE(watcher.saw(IN_CREATE, "renamed"));
  EXPECT_TRUE(file.sees(IN_MOVE_SELF, "")) << file.all();
  // That watch ends: the name leads to what the source has now.
  EXPECT_TRUE(file.sees(IN_DELETE_SELF, "") || file.saw(IN_IGNORED, "")) << file.all();
  EXPECT_EQ(text("d/renamed"), "of d/a");
  EXPECT_NE(::access(here("d/a").c_str(), F_OK), 0);
  std::array<char, 16> bytes{};
  EXPECT_EQ(::pread(open_one, bytes.data(), bytes.size(), 0), 6) << "who has it open goes on";
  ::close(open_one);
}

TEST_F(WatchRename, BetweenDirectories) {
  Watcher from(here("d"));
  Watcher to(here("e"));
  ASSERT_TRUE(is_told(from, "d"));
  ASSERT_TRUE(is_told(to, "e"));
  rename("d/a", "e/moved");
  ASSERT_TRUE(to.sees(IN_MOVED_TO, "moved")) << to.all() << from.all() << mount_.mount().log();
  ASSERT_TRUE(from.saw(IN_MOVED_FROM, "a")) << from.all();
  EXPECT_EQ(from.cookie_of(IN_MOVED_FROM, "a"), to.cookie_of(IN_MOVED_TO, "moved"));
  EXPECT_EQ(text("e/moved"), "of d/a");
  // And the other way, where the directory that it comes to is listed first.
  rename("e/c", "d/c");
  ASSERT_TRUE(from.sees(IN_MOVED_TO, "c")) << to.all() << from.all() << mount_.mount().log();
  EXPECT_TRUE(to.saw(IN_MOVED_FROM, "c")) << to.all();
  EXPECT_EQ(text("d/c"), "of e/c");
}

TEST_F(WatchRename, OverAnotherFile) {
  Watcher watcher(here("d"));
  ASSERT_TRUE(is_told(watcher, "d"));
  rename("d/a", "d/b");
  ASSERT_TRUE(watcher.sees(IN_MOVED_TO, "b")) << watcher.all() << mount_.mount().log();
  EXPECT_EQ(watcher.cookie_of(IN_MOVED_FROM, "a"), watcher.cookie_of(IN_MOVED_TO, "b"));
  EXPECT_EQ(text("d/b"), "of d/a");
  struct stat st {};
  ASSERT_EQ(::stat(here("d/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 1U);
}

// As editors do.
TEST_F(WatchRename, OverAFileThatNobodyRead) {
  put("d/unread", "old", 70);
  Watcher watcher(here("d"));
  ASSERT_TRUE(is_told(watcher, "d"));
  ASSERT_TRUE(wait_until([&] { return state_of(here("d/unread")) == "remote"; }, Watcher::kLimit));
  rename("d/a", "d/unread");
  ASSERT_TRUE(watcher.sees(IN_MOVED_TO, "unread")) << watcher.all() << mount_.mount().log();
  EXPECT_EQ(watcher.cookie_of(IN_MOVED_FROM, "a"), watcher.cookie_of(IN_MOVED_TO, "unread"));
  EXPECT_EQ(text("d/unread"), "of d/a");
}

TEST_F(WatchRename, OneNameOfSeveral) {
  ASSERT_EQ(::link(there("d/a").c_str(), there("d/other").c_str()), 0);
  ASSERT_TRUE(wait_until([&] { return text("d/other") == "of d/a"; }, Watcher::kLimit));
  Watcher watcher(here("d"));
  ASSERT_TRUE(is_told(watcher, "d"));
  rename("d/other", "d/renamed");
  ASSERT_TRUE(watcher.sees(IN_MOVED_TO, "renamed")) << watcher.all() << mount_.mount().log();
  EXPECT_EQ(watcher.cookie_of(IN_MOVED_FROM, "other"), watcher.cookie_of(IN_MOVED_TO, "renamed"));
  EXPECT_EQ(text("d/renamed"), "of d/a");
  EXPECT_EQ(text("d/a"), "of d/a");
}

// So who is in it, or watches it, goes on.
TEST_F(WatchRename, ADirectoryStaysWhatItIs) {
  support::make_dirs(there("d/sub/below"));
  put("d/sub/f", "of d/sub/f", 71);
  ASSERT_TRUE(wait_until([&] { return text("d/sub/f") == "of d/sub/f"; }, Watcher::kLimit));
  Watcher above(here("d"));
  Watcher itself(here("d/sub"));
  support::ChildProcess inside({"sh", "-c", "cd '" + here("d/sub/below") + "' && sleep 200"});
  ASSERT_TRUE(is_told(itself, "d/sub"));
  // After that, so that the time is known which the probes gave it.
  ASSERT_TRUE(is_told(above, "d"));
  struct stat before {};
  ASSERT_EQ(::stat(here("d/sub/f").c_str(), &before), 0);
  const auto fetched = files_fetched(mount_.mount());
  rename("d/sub", "d/moved");
  ASSERT_TRUE(above.sees(IN_MOVED_TO | IN_ISDIR, "moved")) << above.all() << mount_.mount().log();
  EXPECT_NE(above.cookie_of(IN_MOVED_FROM, "sub"), 0U);
  EXPECT_EQ(above.cookie_of(IN_MOVED_FROM, "sub"), above.cookie_of(IN_MOVED_TO, "moved"));
  EXPECT_TRUE(itself.sees(IN_MOVE_SELF, "")) << itself.all();
  struct stat after {};
  ASSERT_EQ(::stat(here("d/moved/f").c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_EQ(text("d/moved/f"), "of d/sub/f");
  EXPECT_EQ(files_fetched(mount_.mount()), fetched) << "it was here";
  EXPECT_NE(::access(here("d/sub").c_str(), F_OK), 0);
  std::array<char, 4096> where{};
  const std::string link = "/proc/" + std::to_string(inside.pid()) + "/cwd";
  ASSERT_GT(::readlink(link.c_str(), where.data(), where.size() - 1), 0);
  EXPECT_EQ(std::string(where.data()), here("d/moved/below"));
  itself.forget();
  put("d/moved/later", "later", 72);
  EXPECT_TRUE(itself.sees(IN_CREATE, "later")) << itself.all();
  ASSERT_TRUE(wait_until([&] { return text("d/moved/later") == "later"; }, Watcher::kLimit));
}

TEST_F(WatchRename, WhoIsInARenamedDirectoryStaysInIt) {
  support::make_dirs(there("d/sub/below"));
  ASSERT_TRUE(wait_until([&] { return ::access(here("d/sub/below").c_str(), F_OK) == 0; }, Watcher::kLimit));
  support::ChildProcess inside({"sh", "-c", "cd '" + here("d/sub/below") + "' && sleep 200"});
  const std::string link = "/proc/" + std::to_string(inside.pid()) + "/cwd";
  const auto is_in = [&](const std::string& name) {
    std::array<char, 4096> where{};
    return ::readlink(link.c_str(), where.data(), where.size() - 1) > 0 && where.data() == here(name);
  };
  ASSERT_TRUE(wait_until([&] { return is_in("d/sub/below"); }, Watcher::kLimit));
  rename("d/sub", "d/moved");
  EXPECT_TRUE(wait_until([&] { return is_in("d/moved/below"); }, Watcher::kLimit)) << mount_.mount().log();
}

// Both are listed together, because both are in use; as when it is done here, one half is told.
TEST_F(WatchRename, WhereOnlyOneDirectoryIsWatched) {
  Watcher watcher(here("d"));
  support::ChildProcess inside({"sh", "-c", "cd '" + here("e") + "' && sleep 200"});
  ASSERT_TRUE(is_told(watcher, "d"));
  const auto in_use = [&] { return mount_.mount().status_number("/poll/directories_in_use"); };
  ASSERT_TRUE(wait_until([&] { return in_use() >= 2; }, Watcher::kLimit));
  rename("d/a", "e/a");
  EXPECT_TRUE(watcher.sees(IN_MOVED_FROM, "a")) << watcher.all() << mount_.mount().log();
  rename("e/c", "d/c");
  EXPECT_TRUE(watcher.sees(IN_MOVED_TO, "c")) << watcher.all() << mount_.mount().log();
  EXPECT_FALSE(watcher.saw(IN_DELETE, "a"));
  EXPECT_FALSE(watcher.saw(IN_CREATE, "c"));
  EXPECT_EQ(text("e/a"), "of d/a");
  EXPECT_EQ(text("d/c"), "of e/c");
}

// Its new place is not where it could be renamed to.
TEST_F(WatchRename, WhatCannotBeRenamedHereComesAndGoes) {
  Watcher from(here("d"));
  Watcher to(here("e"));
  ASSERT_TRUE(is_told(from, "d"));
  ASSERT_TRUE(is_told(to, "e"));
  ASSERT_EQ(::mount("none", here("e").c_str(), "tmpfs", 0, nullptr), 0);
  rename("d/a", "e/moved");
  EXPECT_TRUE(from.sees(IN_DELETE, "a")) << from.all() << mount_.mount().log();
  EXPECT_FALSE(from.saw(IN_MOVED_FROM, "a"));
  ASSERT_EQ(::umount(here("e").c_str()), 0);
  EXPECT_EQ(text("e/moved"), "of d/a");
}

TEST_F(WatchRename, AmongManyOthers) {
  constexpr int kFiles = 600;
  for (int i = 0; i < kFiles; ++i) put("d/n" + std::to_string(i), std::to_string(i), 100 + i);
  Watcher watcher(here("d"));
  ASSERT_TRUE(wait_until([&] { return text("d/n599") == "599"; }, Watcher::kLimit));
  ASSERT_TRUE(is_told(watcher, "d"));
  watcher.forget();
  // In one list, or in two.
  for (int i = 0; i < kFiles; ++i) rename("d/n" + std::to_string(i), "d/m" + std::to_string(i));
  bool all_came = true;
  int told_as_renamed = 0;
  for (int i = 0; i < kFiles; ++i) {
    const std::string number = std::to_string(i);
    const auto came = [&] {
      return watcher.saw(IN_MOVED_TO, "m" + number) || watcher.saw(IN_CREATE, "m" + number);
    };
    all_came = all_came && wait_until(came, Watcher::kLimit);
    const uint32_t cookie = watcher.cookie_of(IN_MOVED_TO, "m" + number);
    EXPECT_EQ(cookie, watcher.cookie_of(IN_MOVED_FROM, "n" + number));
    if (cookie != 0) ++told_as_renamed;
  }
  EXPECT_GT(told_as_renamed, kFiles / 2);
  EXPECT_TRUE(all_came) << mount_.mount().log();
}

// Another file in its place that only looks as if it were the same: the kernel has the bytes of the one that
// went, and moves them to the new name for a moment. Nobody gets them there, or misses it once it was there.
TEST_F(WatchRename, WhoReadsMeanwhileGetsWhatIsThere) {
  Watcher watcher(here("d"));
  ASSERT_TRUE(is_told(watcher, "d"));
  int told_as_renamed = 0;
  for (int round = 0; round < 12; ++round) {
    const std::string old_name = "old" + std::to_string(round);
    const std::string new_name = "new" + std::to_string(round);
    put("d/" + old_name, "went", 50 + round);
    ASSERT_TRUE(wait_until([&] { return text("d/" + old_name) == "went"; }, Watcher::kLimit));
    std::atomic<bool> over{false};
    std::atomic<int> wrong{0};
    std::atomic<int> right{0};
    std::atomic<int> missed{0};
    const auto look = [&] {
      while (!over) {
        const bool was_there = right > 0;
        const int fd = ::open(here("d/" + new_name).c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
          if (was_there) missed = errno;
          continue;
        }
        std::array<char, 8> bytes{};
        const ssize_t got = ::pread(fd, bytes.data(), bytes.size(), 0);
        ::close(fd);
        ++(got == 4 && std::string(bytes.data(), 4) == "came" ? right : wrong);
      }
    };
    std::thread one(look);
    std::thread two(look);
    put("ready", "came", 50 + round);
    ASSERT_EQ(::unlink(there("d/" + old_name).c_str()), 0);
    rename("ready", "d/" + new_name);
    EXPECT_TRUE(wait_until([&] { return right > 0; }, Watcher::kLimit));
    std::this_thread::sleep_for(milliseconds(500));
    over = true;
    one.join();
    two.join();
    EXPECT_EQ(wrong, 0) << round;
    EXPECT_EQ(missed, 0) << round;
    EXPECT_EQ(text("d/" + new_name), "came");
    if (watcher.saw(IN_MOVED_FROM, old_name) && watcher.saw(IN_MOVED_TO, new_name)) ++told_as_renamed;
  }
  // Not each time: who comes to the name first may be in the way.
  EXPECT_GT(told_as_renamed, 0);
}

}  // namespace
}  // namespace rsyncfs::mount_tests
