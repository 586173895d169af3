// SPDX-License-Identifier: GPL-3.0-or-later
// What the source changes is shown by itself, and told to those who watch with inotify(7).
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "tests/mount/watcher.h"
#include "tests/mount/writable_mount.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr seconds kLimit{60};

std::string text_of(const std::string& path) {
  return read_whole(path).bytes;
}

class Watch : public ::testing::Test {
 protected:
  Watch() {
    support::make_dirs(mount_.served() + "/d/below");
    support::write_file(mount_.served() + "/d/f", "old");
    support::write_file(mount_.served() + "/d/goes", "old");
    EXPECT_EQ(mount_.mount_again(), "");
    EXPECT_TRUE(wait_for_tree(mount_.mount()));
    // Somebody who lists a directory before he watches it.
    EXPECT_TRUE(list_names(mount_ / "d").ok);
  }
  std::string there(const std::string& name) const { return mount_.served() + "/d/" + name; }
  std::string here(const std::string& name) const { return mount_ / ("d/" + name); }

  WritableMount mount_;
};

TEST_F(Watch, TellsOfWhatTheSourceChanges) {
  Watcher watcher(mount_ / "d");
  // Until it was found, by an event that is sure to come.
  bool found = false;
  for (int i = 0; i < 40 && !found; ++i) {
    support::write_file(there("probe" + std::to_string(i)), "x");
    found = watcher.sees(IN_CREATE, "probe" + std::to_string(i), seconds(2));
  }
  ASSERT_TRUE(found) << mount_.mount().log();
  EXPECT_EQ(state_of(here("f")), "remote");

  support::write_file(there("new"), "new");
  EXPECT_TRUE(watcher.sees(IN_CREATE, "new"));
  EXPECT_EQ(text_of(here("new")), "new");

  ASSERT_EQ(text_of(here("f")), "old");
  watcher.forget();
  // Where no list sees it before it is renamed.
  support::write_file(mount_.served() + ".tmp", "newer");
  ASSERT_EQ(::rename((mount_.served() + ".tmp").c_str(), there("f").c_str()), 0);
  EXPECT_TRUE(watcher.sees(IN_MODIFY, "f"));
  EXPECT_TRUE(watcher.sees(IN_CLOSE_WRITE, "f"));
  EXPECT_EQ(text_of(here("f")), "newer") << "by then it is here";

  ASSERT_EQ(::unlink(there("goes").c_str()), 0);
  EXPECT_TRUE(watcher.sees(IN_DELETE, "goes"));
  EXPECT_FALSE(::access(here("goes").c_str(), F_OK) == 0);

  support::make_dirs(there("dir"));
  ASSERT_EQ(::symlink("anywhere", there("link").c_str()), 0);
  EXPECT_TRUE(watcher.sees(IN_CREATE | IN_ISDIR, "dir"));
  EXPECT_TRUE(watcher.sees(IN_CREATE, "link"));
  std::array<char, 64> target{};
  EXPECT_EQ(::readlink(here("link").c_str(), target.data(), target.size()), 8);
  ASSERT_EQ(::rmdir(there("dir").c_str()), 0);
  EXPECT_TRUE(watcher.sees(IN_DELETE | IN_ISDIR, "dir"));

  ASSERT_EQ(::rename(there("new").c_str(), there("renamed").c_str()), 0);
  EXPECT_TRUE(watcher.sees(IN_MOVED_FROM, "new"));
  EXPECT_TRUE(watcher.sees(IN_MOVED_TO, "renamed"));
  EXPECT_EQ(text_of(here("renamed")), "new");
  // What was done again through the mount has changed nothing.
  EXPECT_EQ(mount_.flush(), "");
  EXPECT_EQ(mount_.mount().status_number("/push/pending_names"), 0);
  EXPECT_EQ(mount_.differences(), "");
}

TEST_F(Watch, OwnChangesAreToldOnceByTheKernel) {
  Watcher watcher(mount_ / "d");
  std::this_thread::sleep_for(seconds(3));
  watcher.forget();
  support::write_file(here("mine"), "x");
  EXPECT_TRUE(watcher.sees(IN_CREATE, "mine"));
  EXPECT_EQ(mount_.flush(), "");
  watcher.forget();
  std::this_thread::sleep_for(seconds(4));
  EXPECT_TRUE(watcher.empty()) << "what was pushed comes back with the next list";
}

// Nobody asks for anything: the kernel knows all names.
TEST_F(Watch, AWorkingDirectoryIsInUse) {
  support::ChildProcess inside({"sh", "-c", "cd '" + (mount_ / "d/below") + "' && sleep 100"});
  ASSERT_TRUE(
      wait_until([&] { return mount_.mount().status_number("/poll/directories_in_use") > 0; }, kLimit));
  // Longer than what was used lately stays in use.
  const auto lists = [&] { return mount_.mount().status_number("/totals/lists_received"); };
  std::this_thread::sleep_for(seconds(43));
  EXPECT_EQ(mount_.mount().status_number("/poll/directories_in_use"), 1);
  const auto before = lists();
  EXPECT_TRUE(wait_until([&] { return lists() > before + 2; }, kLimit));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
