// SPDX-License-Identifier: GPL-3.0-or-later
// Lists of chosen directories and names, and roots with names that a daemon could misread.
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "tests/rsync/pull_testing.h"
#include "tests/support/old_rsync.h"

namespace rsyncfs {
namespace {

std::set<std::string> paths_of(const FileList& list) {
  std::set<std::string> out;
  for (const FileEntry& e : list.entries) out.insert(list.path(e));
  return out;
}

void make_tree(const std::string& root) {
  support::make_dirs(root + "/d/sub/deeper");
  support::make_dirs(root + "/e");
  support::write_file(root + "/top", "top");
  support::write_file(root + "/d/f1", "f1");
  support::write_file(root + "/d/sub/f2", "f2");
  support::write_file(root + "/e/f3", "f3");
}

class Paths : public testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  void SetUp() override {
    make_tree(dir_.path());
    daemon_.emplace(RsyncDaemon::serving(dir_.path()));
  }
  std::unique_ptr<BlockingPull> open(PullConfig config) {
    const auto& [server, protocol] = GetParam();
    config.max_protocol = protocol;
    if (server == "daemon") return BlockingPull::over_tcp(daemon_->port(), config);
    config.root = dir_.path() + (config.root.empty() ? "" : "/" + config.root);
    return BlockingPull::over_pipe(server == "old" ? support::require_old_rsync() : "rsync", config);
  }
  TempDir dir_;
  std::optional<RsyncDaemon> daemon_;
};

TEST_P(Paths, DirectoriesOneLevelDeep) {
  auto pull = open(paths_config({"d/", "e/"}));
  ASSERT_OK(pull->wait_for_list());
  const FileList& list = pull->list();
  EXPECT_EQ(paths_of(list), (std::set<std::string>{"d", "d/f1", "d/sub", "e", "e/f3"}));
  const FileEntry& d = list.entry(*list.find("d"));
  EXPECT_TRUE((d.flags & FileEntry::kTopDir) != 0 && (d.flags & FileEntry::kNoContentDir) == 0);
  EXPECT_TRUE((list.entry(*list.find("d/sub")).flags & FileEntry::kNoContentDir) != 0);
  const auto file = pull->fetch("e/f3");
  ASSERT_OK(file);
  EXPECT_EQ(file->data, "f3");
  EXPECT_OK(pull->finish());
}

TEST_P(Paths, TheRootsChildren) {
  auto pull = open(paths_config({"./"}));
  ASSERT_OK(pull->wait_for_list());
  EXPECT_EQ(paths_of(pull->list()), (std::set<std::string>{".", "d", "e", "top"}));
  EXPECT_OK(pull->fetch("top"));
  EXPECT_OK(pull->finish());
}

TEST_P(Paths, EntriesOnly) {
  auto pull = open(paths_config({"d", "d/sub", "top", "d/sub/f2"}));
  ASSERT_OK(pull->wait_for_list());
  EXPECT_EQ(paths_of(pull->list()), (std::set<std::string>{"d", "d/sub", "d/sub/f2", "top"}));
  EXPECT_OK(pull->fetch("d/sub/f2"));
  EXPECT_OK(pull->finish());
}

TEST_P(Paths, TheRootNeverComesWithoutItsChildren) {
  for (const char* name : {"", "."}) {
    auto pull = open(paths_config({name}));
    ASSERT_OK(pull->wait_for_list());
    EXPECT_EQ(paths_of(pull->list()), (std::set<std::string>{".", "d", "e", "top"}));
    EXPECT_OK(pull->finish());
  }
}

TEST_P(Paths, MissingNamesAreReported) {
  auto pull = open(paths_config({"top", "nothing", "d/nothing", "nodir/nothing", "d/nodir/"}));
  ASSERT_OK(pull->wait_for_list());
  const FileList& list = pull->list();
  for (const char* missing : {"nothing", "d/nothing", "nodir/nothing", "d/nodir"}) {
    const auto ndx = list.find(missing);
    ASSERT_TRUE(ndx) << missing;
    EXPECT_EQ(list.entry(*ndx).mode, 0u) << missing;
  }
  EXPECT_EQ(list.io_error, FileList::kIoErrorVanished);  // "nodir" is no path of ours, but a parent of one
  EXPECT_NE(list.entry(*list.find("top")).mode, 0u);
  const auto file = pull->fetch("top");
  ASSERT_OK(file);
  EXPECT_EQ(file->data, "top");
  EXPECT_OK(pull->finish());
}

TEST_P(Paths, OnlyMissingNames) {
  auto pull = open(paths_config({"nothing"}));
  ASSERT_OK(pull->wait_for_list());
  ASSERT_EQ(pull->list().size(), 1u);
  EXPECT_EQ(pull->list().entry(0).mode, 0u);
  EXPECT_EQ(pull->list().io_error, 0u);
  EXPECT_OK(pull->finish());
}

TEST_P(Paths, MissingNamesAsTexts) {
  PullConfig config = paths_config({"top", "nothing"});
  config.report_missing = false;
  auto pull = open(config);
  ASSERT_OK(pull->wait_for_list());
  EXPECT_EQ(paths_of(pull->list()), (std::set<std::string>{"top"}));
  config.paths = {"nothing"};
  auto none = open(config);
  const auto listed = none->wait_for_list();
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), Errc::kNotFound) << listed.error().message();
}

TEST_P(Paths, RepeatedNamesKeepTheirIndices) {
  // The sender does not drop repeated names, so neither may we: all later indices would be wrong.
  auto pull = open(paths_config({"d/f1", "top", "d/f1", "d/f1", "d/"}));
  ASSERT_OK(pull->wait_for_list());
  const FileList& list = pull->list();
  const auto count = [&](std::string_view path) {
    return std::count_if(list.entries.begin(), list.entries.end(),
                         [&](const FileEntry& e) { return list.path(e) == path; });
  };
  EXPECT_EQ(count("d/f1"), 4);
  for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
    if (!S_ISREG(list.entry(ndx).mode)) continue;
    const auto file = pull->fetch(ndx);
    ASSERT_OK(file);
    EXPECT_EQ(file->data, support::read_file(dir_ / list.path(list.entry(ndx))));
  }
  EXPECT_EQ(list.path(list.entry(*list.find("d/f1"))), "d/f1");
  EXPECT_NE(list.path(list.entry(*list.find("d/f1") - 1)), "d/f1");
  EXPECT_OK(pull->finish());
}

TEST_P(Paths, NamesOfAnyBytes) {
  std::vector<std::string> names = {
      " ", "-rf", "new\nline", "\xff\xfe", "*",   "?",       "[a-z]", "back\\slash",
      "#", ";c",  "'",         "+ x",      "- *", "caf\xe9", "...",   std::string(255, 'n')};
  for (const std::string& name : names) {
    support::write_file(dir_ / name, "file " + name);
    support::make_dirs(dir_ / ("d/dir" + name.substr(0, 200)));
    support::write_file(dir_ / ("d/dir" + name.substr(0, 200) + "/in"), "in " + name);
  }
  std::vector<std::string> asked = names;
  for (const std::string& name : names) asked.push_back("d/dir" + name.substr(0, 200) + "/");
  auto pull = open(paths_config(asked));
  ASSERT_OK(pull->wait_for_list());
  for (const std::string& name : names) {
    SCOPED_TRACE(support::printable(name));
    const auto file = pull->fetch(name);
    ASSERT_OK(file);
    EXPECT_EQ(file->data, "file " + name);
    const auto inner = pull->fetch("d/dir" + name.substr(0, 200) + "/in");
    ASSERT_OK(inner);
    EXPECT_EQ(inner->data, "in " + name);
  }
  EXPECT_OK(pull->finish());
}

// A sender that converts names makes them longer, as those of other file systems are. It numbers what it
// lists in the order of the names asked for, so they are in rsync's order here.
TEST(PullNames, TooLongForUsAreLeftOutAndTheRestIsServed) {
  TempDir dir;
  const std::string on_disk(200, '\xe9');  // two bytes each in UTF-8
  support::make_dirs(dir / on_disk);
  support::make_dirs(dir / "z_dir");
  for (const std::string& name :
       {std::string("a"), std::string("z"), on_disk + "e", std::string("z_dir/f"), on_disk + "/in"})
    support::write_file(dir / name, "in " + name);
  PullConfig config = paths_config({"a", "z", on_disk + "e", "z_dir/", on_disk + "/"});
  config.root = dir.path();
  config.extra_args = {"--iconv=ISO-8859-1"};
  auto pull = BlockingPull::over_pipe("rsync", config);
  ASSERT_OK(pull->wait_for_list());
  const FileList& list = pull->list();
  EXPECT_EQ(list.size(), 7u);
  EXPECT_EQ(list.unusable, 3u);
  ASSERT_EQ(pull->messages.size(), 1u);
  EXPECT_EQ(pull->messages[0].first, MessageKind::kWarning);
  EXPECT_TRUE(pull->messages[0].second.starts_with("3 entries")) << pull->messages[0].second;
  for (const char* name : {"a", "z", "z_dir/f"}) {  // before and after it in the order
    const auto file = pull->fetch(name);
    ASSERT_OK(file);
    EXPECT_EQ(file->data, std::string("in ") + name);
  }
  MemorySink sink;
  for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
    if (list.entry(ndx).usable()) continue;
    EXPECT_FALSE(list.find(list.path(list.entry(ndx))));
    EXPECT_DEATH(pull->session().request_file(ndx, {}, sink), "check failed");
  }
  EXPECT_OK(pull->finish());
}

TEST_P(Paths, RootsWithOddNames) {
  for (const std::string name :
       {"plain",   "with blank", "-dash", "*",      "?",    "[ab]",      "a[", "back\\slash",
        "both\\*", "x m",        "x m/y", " m",     "x [m", "new\nline", "~",  "$HOME",
        "'quote",  "\xff\xfe",   "...",   "[!a]\\", "m",    ". m"}) {
    SCOPED_TRACE(support::printable(name));
    support::make_dirs(dir_ / (name + "/sub"));
    support::write_file(dir_ / (name + "/sub/file"), "in " + name);
    for (const bool with_paths : {false, true}) {
      PullConfig config = with_paths ? paths_config({"sub/"}) : daemon_config();
      config.root = with_paths ? name : "./" + name + "//";
      auto pull = open(config);
      ASSERT_OK(pull->wait_for_list());
      const auto file = pull->fetch("sub/file");
      ASSERT_OK(file);
      EXPECT_EQ(file->data, "in " + name) << file->end->reason.message();
      EXPECT_OK(pull->finish());
    }
  }
}

TEST_P(Paths, ManyNames) {
  support::make_many_files(dir_ / "many", 20, 100, 10);
  std::vector<std::string> names;
  for (int d = 0; d < 20; ++d) {
    char dir[32];
    std::snprintf(dir, sizeof dir, "many/d%03d", d);
    for (int f = 0; f < 100; ++f) {
      char file[32];
      std::snprintf(file, sizeof file, "/f%04d", f);
      names.push_back(std::string(dir) + file);
      names.push_back(std::string(dir) + file + ".missing");
    }
  }
  auto pull = open(paths_config(names));
  ASSERT_OK(pull->wait_for_list());
  for (size_t i = 0; i < names.size(); ++i) {
    const auto ndx = pull->list().find(names[i]);
    ASSERT_TRUE(ndx) << names[i];
    EXPECT_EQ(pull->list().entry(*ndx).mode == 0, i % 2 == 1) << names[i];
  }
  EXPECT_OK(pull->fetch(names[0]));
  EXPECT_OK(pull->finish());
}

INSTANTIATE_TEST_SUITE_P(
    Servers, Paths, testing::Combine(testing::Values("daemon", "pipe", "old"), testing::Values(30, 31, 32)),
    [](const auto& info_) { return std::get<0>(info_.param) + std::to_string(std::get<1>(info_.param)); });

}  // namespace
}  // namespace rsyncfs
