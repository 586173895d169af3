// SPDX-License-Identifier: GPL-3.0-or-later
// What is pushed without contents: attributes, new names, moves, deletions; to the real rsync.
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "tests/rsync/push_testing.h"

namespace rsyncfs {
namespace {

constexpr int64_t kOldTime = 1'500'000'000;
constexpr int64_t kNewTime = 1'600'000'000;

class PushKinds : public PushInterop {
 protected:
  // A file with its parents, last changed at kOldTime.
  void make(std::string_view path, std::string_view contents, mode_t mode = 0644) {
    const std::string full = target_ / path;
    support::make_dirs(full.substr(0, full.rfind('/')));
    support::write_file(full, contents, mode);
    support::set_mtime(full, kOldTime, 0);
  }
  bool exists(std::string_view path) { return stat_of(target_ / path).st_mode != 0; }
  std::unique_ptr<BlockingPush> push(PushConfig config) {
    const PushKind kind = config.kind;
    auto push = target_.open(std::move(config));
    const auto finished = push->finish();
    EXPECT_TRUE(finished.ok()) << (finished.ok() ? "" : finished.error().message()) << "\n"
                               << push->complaints();
    EXPECT_TRUE(push->requests.empty());
    const bool with_list = kind == PushKind::kLink || kind == PushKind::kMove || kind == PushKind::kDelete;
    if (with_list && finished.ok() && push->declined.empty()) {
      EXPECT_EQ(push->said_with_list, push->said());
    }
    return push;
  }
  // Until the server has gone through the list, and no further.
  std::unique_ptr<BlockingPush> push_list(PushConfig config) {
    auto push = target_.open(std::move(config));
    EXPECT_TRUE(push->pump_until([&] { return push->said_with_list.has_value(); }).ok())
        << push->complaints();
    EXPECT_FALSE(push->finished);
    return push;
  }
};
INSTANTIATE_TEST_SUITE_P(Peers, PushKinds, all_push_peers(), testing::PrintToStringParamName());

PushEntry of_type(std::string path, uint32_t mode) {
  PushEntry entry = file_entry(std::move(path), 0, kNewTime);
  entry.mode = mode;
  return entry;
}

TEST_P(PushKinds, AttributesOfWhatIsThere) {
  make("d/file", "12345");
  make("d/link-target", "");
  ASSERT_EQ(symlink("link-target", (target_ / "d/link").c_str()), 0);
  ASSERT_EQ(mkfifo((target_ / "fifo").c_str(), 0644), 0);
  support::set_mtime(target_ / "d", kOldTime, 0);
  PushConfig config = target_.config(PushKind::kAttributes);
  config.entries = {of_type("d/file", S_IFREG | 0600), of_type("d", S_IFDIR | 0711),
                    of_type("d/link", S_IFLNK | 0777), of_type("fifo", S_IFIFO | 0600)};
  config.entries[0].size = 5;
  config.entries[2].link_target = "link-target";
  const auto done = push(config);
  EXPECT_EQ(done->complaints(), "");
  for (const PushEntry& entry : config.entries) {
    const struct stat st = stat_of(target_ / entry.path);
    EXPECT_EQ(st.st_mode, entry.mode) << entry.path;
    EXPECT_EQ(st.st_mtim.tv_sec, kNewTime) << entry.path;
  }
  EXPECT_EQ(support::read_file(target_ / "d/file"), "12345");
  EXPECT_EQ(done->items.at(0).first, kItemTime | kItemPerms);
  EXPECT_EQ(std::ranges::count(done->succeeded, 0u), 1);
}

// Another size means another version, and a missing file has no attributes.
TEST_P(PushKinds, AttributesOfWhatIsNoLongerTheSame) {
  make("grown", "123456");
  PushConfig config = target_.config(PushKind::kAttributes);
  config.entries = {of_type("grown", S_IFREG | 0600), of_type("missing", S_IFREG | 0600)};
  config.entries[0].size = 5;
  const auto done = push(config);
  EXPECT_EQ(done->declined.size(), 2u);
  EXPECT_EQ(done->declined.at(0) & kItemIsNew, 0);
  EXPECT_NE(done->declined.at(1) & kItemIsNew, 0);
  EXPECT_TRUE(done->succeeded.empty());
  EXPECT_EQ(stat_of(target_ / "grown").st_mode, static_cast<mode_t>(S_IFREG | 0644));
  EXPECT_EQ(stat_of(target_ / "grown").st_mtim.tv_sec, kOldTime);
  EXPECT_FALSE(exists("missing"));
}

// The only way to know what a directory of the remote's root looks like is to change nothing else of it.
TEST_P(PushKinds, RootDirectory) {
  PushConfig config = target_.config(PushKind::kAttributes);
  config.entries = {of_type(".", S_IFDIR | 0750)};
  EXPECT_EQ(push(config)->complaints(), "");
  EXPECT_EQ(stat_of(target_.path()).st_mode, static_cast<mode_t>(S_IFDIR | 0750));
  EXPECT_EQ(stat_of(target_.path()).st_mtim.tv_sec, kNewTime);
}

TEST_P(PushKinds, NewNamesOfEveryType) {
  support::make_dirs(target_ / "old");
  ASSERT_EQ(chmod((target_ / "old").c_str(), 0700), 0);
  support::set_mtime(target_ / "old", kOldTime, 0);
  PushConfig config = target_.config(PushKind::kCreate);
  config.entries = {of_type("old/dir", S_IFDIR | 0750), of_type("old/link", S_IFLNK | 0777),
                    of_type("old/fifo", S_IFIFO | 0640), of_type("old/socket", S_IFSOCK | 0600),
                    of_type("made/too/inner", S_IFDIR | 0711)};
  config.entries[1].link_target = "../any where\xff";
  if (geteuid() == 0) {
    config.entries.push_back(of_type("old/char", S_IFCHR | 0600));
    config.entries.push_back(of_type("old/block", S_IFBLK | 0600));
    config.entries[5].rdev_major = config.entries[6].rdev_major = 259;
    config.entries[5].rdev_minor = 3;
    config.entries[6].rdev_minor = 70000;
  }
  const auto done = push(config);
  EXPECT_EQ(done->complaints(), "");
  for (size_t i = 0; i < config.entries.size(); ++i) {
    const PushEntry& entry = config.entries[i];
    SCOPED_TRACE(entry.path);
    const struct stat st = stat_of(target_ / entry.path);
    EXPECT_EQ(st.st_mode, entry.mode);
    EXPECT_EQ(st.st_mtim.tv_sec, kNewTime);
    EXPECT_NE(done->items.at(i).first & kItemIsNew, 0);
    EXPECT_EQ(std::ranges::count(done->succeeded, i), S_ISDIR(entry.mode) ? 0 : 1);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      EXPECT_EQ(st.st_rdev, makedev(entry.rdev_major, entry.rdev_minor));
    }
  }
  std::string target(100, '\0');
  target.resize(static_cast<size_t>(readlink((target_ / "old/link").c_str(), target.data(), target.size())));
  EXPECT_EQ(target, "../any where\xff");
  // A parent that is only named stays as it is, but for what its new entries do to it.
  EXPECT_EQ(stat_of(target_ / "old").st_mode, static_cast<mode_t>(S_IFDIR | 0700));
  EXPECT_NE(stat_of(target_ / "old").st_mtim.tv_sec, kNewTime);
  EXPECT_EQ(stat_of(target_ / "made/too").st_mode & 0700, static_cast<mode_t>(0700));
}

// Everything but contents takes a name without asking whose it was; contents only an empty directory's.
TEST_P(PushKinds, WhatIsReplacedUnasked) {
  make("a", "somebody's");
  make("b", "somebody's");
  support::make_dirs(target_ / "empty");
  support::make_dirs(target_ / "full/of");
  PushConfig config = target_.config(PushKind::kCreate);
  config.entries = {of_type("a", S_IFLNK | 0777), of_type("b", S_IFDIR | 0755),
                    of_type("full", S_IFIFO | 0600)};
  config.entries[0].link_target = "x";
  const auto created = push(config);
  EXPECT_TRUE(S_ISLNK(stat_of(target_ / "a").st_mode));
  EXPECT_TRUE(S_ISDIR(stat_of(target_ / "b").st_mode));
  EXPECT_TRUE(exists("full/of"));
  EXPECT_NE(created->complaints().find("full"), std::string::npos);
  config = target_.config(PushKind::kData);
  config.entries = {of_type("empty", S_IFREG | 0644)};
  const auto declining = target_.open(config);
  ASSERT_OK(declining->finish());
  EXPECT_EQ(declining->requests.size(), 1u);
  EXPECT_FALSE(exists("empty"));
}

// With only_missing nothing is replaced, not even what stands where a parent should be; what is made says so.
TEST_P(PushKinds, NewNamesWhereThereIsSomething) {
  make("file", "somebody's");
  make("parent", "somebody's");
  support::make_dirs(target_ / "dir");
  ASSERT_EQ(chmod((target_ / "dir").c_str(), 0700), 0);
  PushConfig config = target_.config(PushKind::kCreate);
  config.only_missing = true;
  config.entries = {of_type("file", S_IFDIR | 0755), of_type("dir", S_IFDIR | 0711),
                    of_type("parent/fifo", S_IFIFO | 0600), of_type("new", S_IFDIR | 0755),
                    of_type("fifo", S_IFIFO | 0600)};
  const auto done = push(config);
  EXPECT_EQ(support::read_file(target_ / "file"), "somebody's");
  EXPECT_EQ(support::read_file(target_ / "parent"), "somebody's");
  EXPECT_EQ(stat_of(target_ / "dir").st_mode, static_cast<mode_t>(S_IFDIR | 0711));
  EXPECT_FALSE(done->items.contains(0));
  EXPECT_EQ(done->items.at(1).first & kItemIsNew, 0);
  EXPECT_FALSE(done->items.contains(2));
  EXPECT_NE(done->items.at(3).first & kItemIsNew, 0);
  EXPECT_EQ(done->succeeded, std::vector<size_t>{4});
}

// Directories that are there, and nothing else.
TEST_P(PushKinds, AttributesOfDirectoriesOnly) {
  make("file", "somebody's");
  support::make_dirs(target_ / "dir");
  PushConfig config = target_.config(PushKind::kAttributes);
  config.only_missing = config.only_existing = true;
  config.entries = {of_type("file", S_IFDIR | 0711), of_type("dir", S_IFDIR | 0711),
                    of_type("missing", S_IFDIR | 0711), of_type(".", S_IFDIR | 0755)};
  const auto done = push(config);
  EXPECT_EQ(support::read_file(target_ / "file"), "somebody's");
  EXPECT_EQ(stat_of(target_ / "dir").st_mode, static_cast<mode_t>(S_IFDIR | 0711));
  EXPECT_EQ(stat_of(target_ / "dir").st_mtim.tv_sec, kNewTime);
  EXPECT_EQ(stat_of(target_.path()).st_mtim.tv_sec, kNewTime);
  EXPECT_FALSE(exists("missing"));
  EXPECT_FALSE(done->items.contains(0));
  EXPECT_TRUE(done->items.contains(1));
  EXPECT_FALSE(done->items.contains(2));
  EXPECT_TRUE(done->items.contains(3));
}

TEST_P(PushKinds, LinkWhereAParentIsAFile) {
  make("old", "some contents");
  make("parent", "somebody's");
  PushConfig config = target_.config(PushKind::kLink);
  for (const char* path : {"old", "parent/new"}) {
    config.entries.push_back(file_entry(path, 13, kOldTime));
    config.entries.back().hlink_group = 1;
  }
  push(config);
  EXPECT_EQ(support::read_file(target_ / "parent"), "somebody's");
}

TEST_P(PushKinds, TimesWithinTheSameSecond) {
  make("f", "12345");
  support::set_mtime(target_ / "f", kOldTime, 500'000'000);
  PushConfig config = target_.config(PushKind::kAttributes);
  config.entries = {file_entry("f", 5, kOldTime)};
  push(config);
  EXPECT_EQ(stat_of(target_ / "f").st_mtim.tv_nsec, GetParam().protocol >= 31 ? 0 : 500'000'000);
}

TEST_P(PushKinds, UntouchedParentKeepsItsTimes) {
  make("parent/file", "12345");
  support::set_mtime(target_ / "parent", kOldTime, 0);
  PushConfig config = target_.config(PushKind::kAttributes);
  config.entries = {of_type("parent/file", S_IFREG | 0600)};
  config.entries[0].size = 5;
  const auto done = push(config);
  EXPECT_EQ(stat_of(target_ / "parent/file").st_mode, static_cast<mode_t>(S_IFREG | 0600));
  EXPECT_EQ(stat_of(target_ / "parent").st_mtim.tv_sec, kOldTime);
}

TEST_P(PushKinds, LinkGivesAFileAnotherName) {
  make("a/old name", "some contents");
  const ino_t inode = stat_of(target_ / "a/old name").st_ino;
  PushConfig config = target_.config(PushKind::kLink);
  for (const char* path : {"a/old name", "a/a new name", "b/c/other"}) {
    config.entries.push_back(file_entry(path, 13, kOldTime));
    config.entries.back().hlink_group = 7;
  }
  const auto done = push(config);
  EXPECT_EQ(done->complaints(), "");
  EXPECT_TRUE(done->declined.empty());
  for (const char* path : {"a/old name", "a/a new name", "b/c/other"}) {
    EXPECT_EQ(stat_of(target_ / path).st_ino, inode) << path;
  }
  EXPECT_EQ(done->items.at(1).first & (kItemIsNew | kItemLocalChange), kItemIsNew | kItemLocalChange);
  EXPECT_EQ(done->items.at(1).second, "a/old name");
  for (const size_t index : {1u, 2u}) EXPECT_EQ(std::ranges::count(done->succeeded, index), 1) << index;
}

// The old name must still be the file that was to be linked; a nanosecond is enough to tell, where there are
// any.
TEST_P(PushKinds, LinkOfWhatIsNoLongerTheSame) {
  for (const bool size : {true, false}) {
    const bool told = size || GetParam().protocol >= 31;
    make("old", size ? "changed by somebody" : "and once more");
    support::set_mtime(target_ / "old", kOldTime, 1);
    PushConfig config = target_.config(PushKind::kLink);
    for (const char* path : {"old", "new"}) {
      config.entries.push_back(file_entry(path, 13, kOldTime));
      config.entries.back().hlink_group = 1;
    }
    const auto done = push(config);
    EXPECT_EQ(done->declined.empty(), !told);
    EXPECT_EQ(done->succeeded.empty(), told);
    EXPECT_EQ(exists("new"), !told);
    if (size) {
      EXPECT_EQ(support::read_file(target_ / "old"), "changed by somebody");
    }
  }
}

TEST_P(PushKinds, LinkDoesNotReplace) {
  make("old", "some contents");
  make("new", "somebody's");
  PushConfig config = target_.config(PushKind::kLink);
  for (const char* path : {"old", "new"}) {
    config.entries.push_back(file_entry(path, 13, kOldTime));
    config.entries.back().hlink_group = 1;
  }
  config.only_missing = true;
  const auto done = push(config);
  EXPECT_EQ(support::read_file(target_ / "new"), "somebody's");
  EXPECT_EQ(std::ranges::count(done->succeeded, 1u), 0);
}

TEST_P(PushKinds, MoveOfAFile) {
  make("from/name", "contents");
  make("from/other", "stays");
  const ino_t inode = stat_of(target_ / "from/name").st_ino;
  PushConfig config = target_.config(PushKind::kMove);
  config.root = "from";
  config.backup_dir = "../to/sub";
  config.entries = {gone_entry("name"), gone_entry("never was")};
  const auto done = push(config);
  EXPECT_EQ(done->complaints(), "");
  EXPECT_FALSE(exists("from/name"));
  EXPECT_TRUE(exists("from/other"));
  EXPECT_EQ(stat_of(target_ / "to/sub/name").st_ino, inode);
  EXPECT_EQ(done->deleted, (std::vector<std::pair<std::string, bool>>{{"name", false}}));
}

TEST_P(PushKinds, MoveOfATree) {
  make("from/tree/a/b", "contents");
  make("from/tree/c", "contents");
  const ino_t inode = stat_of(target_ / "from/tree/a/b").st_ino;
  ASSERT_EQ(chmod((target_ / "from/tree/a").c_str(), 0710), 0);
  support::set_mtime(target_ / "from/tree/a", kOldTime, 0);
  PushConfig config = target_.config(PushKind::kMove);
  config.root = "from";
  config.backup_dir = "../to";
  config.force = true;
  config.entries = {gone_entry("tree")};
  const auto done = push(config);
  EXPECT_FALSE(exists("from/tree"));
  EXPECT_EQ(stat_of(target_ / "to/tree/a/b").st_ino, inode);
  EXPECT_TRUE(exists("to/tree/c"));
  // The directories are others.
  EXPECT_EQ(stat_of(target_ / "to/tree/a").st_mode, static_cast<mode_t>(S_IFDIR | 0710));
  EXPECT_NE(stat_of(target_ / "to/tree/a").st_mtim.tv_sec, kOldTime);
  EXPECT_EQ(done->deleted.size(), 4u);
  EXPECT_EQ(done->deleted.back(), (std::pair<std::string, bool>("tree", true)));
}

TEST_P(PushKinds, DeletesWhatIsNamed) {
  make("d/file", "");
  make("d/stays", "");
  make("d/full/inside", "");
  support::make_dirs(target_ / "d/empty");
  ASSERT_EQ(symlink("stays", (target_ / "d/link").c_str()), 0);
  PushConfig config = target_.config(PushKind::kDelete);
  config.entries = {gone_entry("d/file"), gone_entry("d/link"), gone_entry("d/empty"), gone_entry("d/full"),
                    gone_entry("d/never was")};
  const auto done = push(config);
  auto deleted = done->deleted;
  std::ranges::sort(deleted);
  EXPECT_EQ(deleted, (std::vector<std::pair<std::string, bool>>{
                         {"d/empty", true}, {"d/file", false}, {"d/link", false}}));
  for (const char* path : {"d/file", "d/link", "d/empty"}) EXPECT_FALSE(exists(path)) << path;
  for (const char* path : {"d/stays", "d/full/inside"}) EXPECT_TRUE(exists(path)) << path;
}

TEST_P(PushKinds, ItIsSoWhenTheListIsGoneThrough) {
  for (const char* path : {"from/moved", "gone", "old"}) make(path, "some contents");
  PushConfig config = target_.config(PushKind::kMove);
  config.root = "from";
  config.backup_dir = "../to";
  config.entries = {gone_entry("moved")};
  const auto moves = push_list(config);
  EXPECT_TRUE(exists("to/moved"));
  EXPECT_FALSE(exists("from/moved"));
  config = target_.config(PushKind::kDelete);
  config.entries = {gone_entry("gone")};
  const auto deletes = push_list(config);
  EXPECT_FALSE(exists("gone"));
  config = target_.config(PushKind::kLink);
  for (const char* path : {"old", "a new one"}) {
    config.entries.push_back(file_entry(path, 13, kOldTime));
    config.entries.back().hlink_group = 1;
  }
  const auto links = push_list(config);
  EXPECT_TRUE(exists("a new one"));
  for (const auto* push : {&moves, &deletes, &links}) EXPECT_TRUE((*push)->finish().ok());
}

TEST_P(PushKinds, DeletesTreesByForceAndIntoABackup) {
  make("tree/a/b", "contents");
  PushConfig config = target_.config(PushKind::kDelete);
  config.entries = {gone_entry("tree")};
  config.force = true;
  config.backup_dir = "trash/1";
  const auto done = push(config);
  EXPECT_EQ(done->deleted.size(), 3u);
  EXPECT_FALSE(exists("tree"));
  EXPECT_EQ(support::read_file(target_ / "trash/1/tree/a/b"), "contents");
}

// Of a tree, without the top: its entries when it goes as a whole.
PushEntry entry_within(std::string path) {
  PushEntry entry = gone_entry(std::move(path));
  entry.within = true;
  return entry;
}

TEST_P(PushKinds, DeletesATreeFromBelow) {
  for (const char* path : {"tree/a/b", "tree/a/c", "tree/d/e/f", "beside", "single"}) make(path, "contents");
  ASSERT_EQ(symlink("../beside", (target_ / "tree/d/link").c_str()), 0);
  PushConfig config = target_.config(PushKind::kDelete);
  config.exact = true;
  config.entries = {gone_entry("tree"), gone_entry("single")};
  for (const char* path :
       {"tree/a", "tree/a/b", "tree/a/c", "tree/d", "tree/d/e", "tree/d/e/f", "tree/d/link"})
    config.entries.push_back(entry_within(path));
  const auto done = push(config);
  EXPECT_FALSE(exists("tree"));
  EXPECT_FALSE(exists("single"));
  EXPECT_TRUE(exists("beside"));
  auto deleted = done->deleted;
  std::ranges::sort(deleted);
  EXPECT_EQ(deleted, (std::vector<std::pair<std::string, bool>>{{"single", false},
                                                                {"tree", true},
                                                                {"tree/a", true},
                                                                {"tree/a/b", false},
                                                                {"tree/a/c", false},
                                                                {"tree/d", true},
                                                                {"tree/d/e", true},
                                                                {"tree/d/e/f", false},
                                                                {"tree/d/link", false}}));
}

// What others have put there, at any depth and of any type, and the directories that lead to it.
TEST_P(PushKinds, DeletesNothingOfATreeThatIsNotNamed) {
  for (const char* path : {"tree/a/b", "tree/a/theirs", "tree/c/d", "tree/e/f/g", "tree/b", "other/a/b"})
    make(path, "contents");
  support::make_dirs(target_ / "tree/e/f/their directory");
  // Where a file was, and what it holds has names that are to go elsewhere.
  make("tree/was a file/a", "theirs");
  PushConfig config = target_.config(PushKind::kDelete);
  config.exact = true;
  config.entries = {gone_entry("tree")};
  for (const char* path : {"tree/a", "tree/a/b", "tree/b", "tree/c", "tree/c/d", "tree/e", "tree/e/f",
                           "tree/e/f/g", "tree/was a file"})
    config.entries.push_back(entry_within(path));
  const auto done = push(config);
  for (const char* path : {"tree/a/theirs", "tree/e/f/their directory", "tree/was a file/a", "other/a/b"})
    EXPECT_TRUE(exists(path)) << path;
  auto deleted = done->deleted;
  std::ranges::sort(deleted);
  EXPECT_EQ(deleted, (std::vector<std::pair<std::string, bool>>{{"tree/a/b", false},
                                                                {"tree/b", false},
                                                                {"tree/c", true},
                                                                {"tree/c/d", false},
                                                                {"tree/e/f/g", false}}));
}

// Each name is itself only, whatever a filter rule would make of it.
TEST_P(PushKinds, DeletesATreeOfNamesOfAllSorts) {
  const std::vector<std::string> names = {"a b", " a",   "a ",          "*",    "**", "***",
                                          "?",   "[a]",  "back\\slash", "\\",   "!",  "-",
                                          "+ b", "a*\\", "\xff\xfe",    "n\nl", ":",  "#"};
  for (const std::string& name : names) {
    make("tree/" + name + "/" + name, "x");
    make("tree/" + name + "/theirs", "x");
  }
  for (const char* other : {"aa", "xyz", "a", "back\\\\slash", "backslash"})
    make("tree/" + std::string(other), "x");
  PushConfig config = target_.config(PushKind::kDelete);
  config.exact = true;
  config.entries = {gone_entry("tree")};
  for (const std::string& name : names) {
    config.entries.push_back(entry_within("tree/" + name));
    config.entries.push_back(entry_within("tree/" + name + "/" + name));
  }
  EXPECT_EQ(push(config)->deleted.size(), names.size());
  for (const std::string& name : names) {
    EXPECT_FALSE(exists("tree/" + name + "/" + name)) << support::printable(name);
    EXPECT_TRUE(exists("tree/" + name + "/theirs")) << support::printable(name);
  }
  for (const char* other : {"aa", "xyz", "a", "back\\\\slash", "backslash"})
    EXPECT_TRUE(exists("tree/" + std::string(other))) << other;
}

TEST_P(PushKinds, DeletesATreeBelowTheRootOfTheSession) {
  make("r/tree/a/b", "contents");
  make("tree/a/b", "contents");
  PushConfig config = target_.config(PushKind::kDelete);
  config.root = "r";
  config.exact = true;
  config.entries = {gone_entry("tree"), entry_within("tree/a"), entry_within("tree/a/b")};
  EXPECT_EQ(push(config)->deleted.size(), 3u);
  EXPECT_FALSE(exists("r/tree"));
  EXPECT_TRUE(exists("tree/a/b"));
}

TEST_P(PushKinds, DeletesNoMoreThanAllowed) {
  for (const char* path : {"a", "b", "c"}) make(path, "");
  PushConfig config = target_.config(PushKind::kDelete);
  config.entries = {gone_entry("a"), gone_entry("b"), gone_entry("c")};
  config.max_delete = 2;
  const auto done = push(config);
  EXPECT_EQ(done->deleted.size(), 2u);
  EXPECT_TRUE(exists("c"));
}

// What a small change costs, login included.
TEST_P(PushKinds, FewBytes) {
  make("d/file", "12345");
  const auto bytes_of = [&](PushKind kind, const PushEntry& entry) {
    PushConfig config = target_.config(kind);
    config.entries = {entry};
    if (kind == PushKind::kMove) {
      config.backup_dir = "../elsewhere";
      config.root = "d";
    }
    const auto done = push(config);
    EXPECT_EQ(done->succeeded.size() + done->deleted.size(), 1u);
    return done->bytes_sent() + done->bytes_received();
  };
  PushEntry attributes = file_entry("d/file", 5, kNewTime);
  attributes.mode = S_IFREG | 0600;
  EXPECT_LT(bytes_of(PushKind::kAttributes, attributes), 550u);
  EXPECT_LT(bytes_of(PushKind::kMove, gone_entry("file")), 550u);
  EXPECT_LT(bytes_of(PushKind::kDelete, gone_entry("elsewhere/file")), 550u);
}

// Any bytes are a name, in any depth, long ones too.
TEST_P(PushKinds, NamesOfAllSorts) {
  std::vector<std::string> paths = {"a b", "-x",          "\xff\xfe", "new\nline", "*",
                                    "[a]", "back\\slash", ":",        "~"};
  paths.push_back(std::string(255, 'n'));
  std::string deep = "deep";
  while (deep.size() < 1500) deep += "/" + std::string(200, 'd');
  paths.push_back(deep + "/x");
  paths.push_back(deep + "/xy");
  PushConfig config = target_.config(PushKind::kCreate);
  for (const std::string& path : paths) config.entries.push_back(of_type(path, S_IFIFO | 0600));
  const auto done = push(config);
  EXPECT_EQ(done->complaints(), "");
  for (const std::string& path : paths) {
    EXPECT_TRUE(S_ISFIFO(stat_of(target_ / path).st_mode)) << support::printable(path);
  }
  EXPECT_EQ(done->succeeded.size(), paths.size());
  config = target_.config(PushKind::kDelete);
  for (const std::string& path : paths) config.entries.push_back(gone_entry(path));
  EXPECT_EQ(push(config)->deleted.size(), paths.size());
}

// The session's root is taken for what it is, too.
TEST_P(PushKinds, RootOfAnyName) {
  for (const std::string root : {"a b", "-x", "*", "[a]", "back\\slash", "x m/y", "\xff"}) {
    SCOPED_TRACE(root);
    make(root + "/f", "1");
    PushConfig config = target_.config(PushKind::kDelete);
    config.root = root;
    config.entries = {gone_entry("f")};
    EXPECT_EQ(push(config)->deleted.size(), 1u);
    EXPECT_FALSE(exists(root + "/f"));
  }
}

}  // namespace
}  // namespace rsyncfs
