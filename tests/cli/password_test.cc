// SPDX-License-Identifier: GPL-3.0-or-later
// rsync's rules for password files.
#include "fs/daemon/password.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using ::testing::HasSubstr;

class PasswordFile : public ::testing::Test {
 protected:
  Result<std::string> read_with(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path) << text;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return read_password_file(path, geteuid());
  }
  support::TempDir dir;
  std::string path = dir / "password";
};

TEST_F(PasswordFile, GivesItsFirstLine) {
  EXPECT_EQ(*read_with("secret\nmore\n"), "secret");
  EXPECT_EQ(*read_with("secret"), "secret");
  EXPECT_EQ(*read_with("secret\r\n"), "secret");
  EXPECT_EQ(*read_with("\n\nafter empty lines\n"), "after empty lines");
  EXPECT_EQ(*read_with(" blanks count "), " blanks count ");
  EXPECT_EQ(read_with(std::string(2000, 'x'))->size(), 511U) << "rsync reads no more";
}

TEST_F(PasswordFile, MustHoldOne) {
  EXPECT_THAT(read_with("").error().message(), HasSubstr("no password"));
  EXPECT_THAT(read_with("\n\r\n").error().message(), HasSubstr("no password"));
  EXPECT_THAT(read_password_file(dir / "none", 0).error().message(), HasSubstr("No such file"));
  EXPECT_FALSE(read_password_file(dir.path(), 0).ok()) << "a directory";
}

TEST_F(PasswordFile, MustNotBeOpenToOthers) {
  EXPECT_TRUE(read_with("secret", 0640).ok()) << "the group may, as with rsync";
  for (const mode_t mode : {0604, 0602, 0666}) {
    const Result<std::string> password = read_with("secret", mode);
    ASSERT_FALSE(password.ok()) << mode;
    EXPECT_THAT(password.error().message(), HasSubstr("others"));
  }
}

TEST_F(PasswordFile, MustBeRootsWhenRootReads) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
  constexpr uid_t kOther = 65534;
  std::ofstream(path) << "secret";
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  ASSERT_EQ(chown(path.c_str(), kOther, kOther), 0);
  EXPECT_THAT(read_password_file(path, 0).error().message(), HasSubstr("root"));
  EXPECT_TRUE(read_password_file(path, kOther).ok());
}

TEST_F(PasswordFile, IsNotReachedThroughAStrangersLink) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
  constexpr uid_t kOther = 65534;
  ASSERT_TRUE(read_with("secret").ok());
  ASSERT_EQ(symlink("password", (dir / "own").c_str()), 0);
  EXPECT_TRUE(read_password_file(dir / "own", 0).ok());
  ASSERT_EQ(symlink(dir.path().c_str(), (dir / "theirs").c_str()), 0);
  ASSERT_EQ(lchown((dir / "theirs").c_str(), kOther, kOther), 0);
  EXPECT_THAT(read_password_file(dir / "theirs/password", 0).error().message(), HasSubstr("symbolic link"));
  ASSERT_EQ(symlink("theirs/password", (dir / "around").c_str()), 0);
  EXPECT_THAT(read_password_file(dir / "around", 0).error().message(), HasSubstr("symbolic link"))
      << "the stranger's link is behind one of our own";
}

TEST_F(PasswordFile, IsFoundThroughOwnLinks) {
  ASSERT_TRUE(read_with("secret").ok());
  ASSERT_EQ(mkdir((dir / "sub").c_str(), 0700), 0);
  ASSERT_EQ(symlink("../one", (dir / "sub/two").c_str()), 0);
  ASSERT_EQ(symlink(path.c_str(), (dir / "one").c_str()), 0);
  ASSERT_EQ(symlink("sub", (dir / "link").c_str()), 0);
  EXPECT_EQ(*read_password_file(dir / "link//./two", geteuid()), "secret");
  ASSERT_EQ(symlink("loop", (dir / "loop").c_str()), 0);
  EXPECT_THAT(read_password_file(dir / "loop", geteuid()).error().message(), HasSubstr("Too many levels"));
  EXPECT_FALSE(read_password_file(dir / "none/password", geteuid()).ok());
  EXPECT_FALSE(read_password_file("", geteuid()).ok());
  EXPECT_FALSE(read_password_file(path + "/", geteuid()).ok());
}

// Whoever may write to the directory exchanges what was checked for a link to what only the reader may read.
TEST_F(PasswordFile, IsTheOneThatWasCheckedWhateverIsExchanged) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
  constexpr uid_t kOther = 65534;
  ASSERT_TRUE(read_with("not for the server").ok());
  const std::string real = dir / "real";
  const std::string link = dir / "link";
  const std::string name = dir / "name";
  std::ofstream(real) << "secret";
  ASSERT_EQ(chmod(real.c_str(), 0600), 0);
  ASSERT_EQ(symlink("password", link.c_str()), 0);
  ASSERT_EQ(lchown(link.c_str(), kOther, kOther), 0);
  ASSERT_EQ(::link(real.c_str(), name.c_str()), 0);
  std::atomic<bool> over = false;
  std::thread other([&] {
    while (!over) renameat2(AT_FDCWD, link.c_str(), AT_FDCWD, name.c_str(), RENAME_EXCHANGE);
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (std::chrono::steady_clock::now() < end) {
    const Result<std::string> password = read_password_file(name, 0);
    if (password && *password != "secret") {
      ADD_FAILURE() << *password;
      break;
    }
  }
  over = true;
  other.join();
}

TEST_F(PasswordFile, IsARegularFile) {
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const Result<std::string> password = read_password_file(path, geteuid());  // nobody writes: must not wait
  EXPECT_THAT(password.error().message(), HasSubstr("regular file"));
  EXPECT_THAT(read_password_file("/dev/null", geteuid()).error().message(), HasSubstr("regular file"));
}

TEST_F(PasswordFile, MayBeStandardInput) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd saved(dup(STDIN_FILENO));
  ASSERT_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
  close(ends[0]);
  // The pipe stays open: one line must be enough.
  ASSERT_EQ(write(ends[1], "typed\n", 6), 6);
  const Result<std::string> password = read_password_file("-", geteuid());
  close(ends[1]);
  const Result<std::string> nothing = read_password_file("-", geteuid());
  dup2(saved.get(), STDIN_FILENO);
  ASSERT_TRUE(password.ok());
  EXPECT_EQ(*password, "typed");
  EXPECT_FALSE(nothing.ok());
}

}  // namespace
}  // namespace rsyncfs
