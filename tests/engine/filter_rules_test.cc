// SPDX-License-Identifier: GPL-3.0-or-later
// Filter rules decide as a real rsync does.
#include "sync/engine/filter_rules.h"

#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using Names = std::set<std::string>;

const std::vector<std::string> kFiles = {
    "a.o",        "a.c",           "x/a.o",        "x/y/a.o",    "x/y/b.c",     "foo",
    "x/foo/in",   "foo.d/bar/baz", "bar/baz",      "x/bar/baz",  "tmp/one",     "x/tmp/one",
    ".hidden",    "x/.hidden",     "[odd]",        "st*r",       "back\\slash", "deep/a/b/c",
    "deep/a/b.o", "a b",           "x/y/z/deep.o", "cache/keep", "cache/k/x",   "Abc"};

// What rsync takes along.
Names by_rsync(const std::string& source, const std::vector<std::string>& rules) {
  support::TempDir target;
  std::vector<std::string> argv{"rsync", "-r"};
  for (const std::string& rule : rules) argv.push_back("--filter=" + rule);
  argv.insert(argv.end(), {source + "/", target.path() + "/"});
  const auto run = support::run_command(argv, std::chrono::seconds(20));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  Names out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(target.path()))
    out.insert(std::filesystem::relative(entry.path(), target.path()));
  return out;
}

TEST(FilterRules, DecideAsRsyncDoes) {
  support::TempDir source;
  for (const std::string& file : kFiles) {
    support::make_dirs(source / std::filesystem::path(file).parent_path().string());
    support::write_file(source / file, "x");
  }
  const std::vector<std::vector<std::string>> cases = {
      {"- *.o"},
      {"- /a.o"},
      {"- foo"},
      {"- foo/"},
      {"- bar/baz"},
      {"- /x/"},
      {"- x/*"},
      {"- x/**"},
      {"- **/tmp"},
      {"- deep/**.o"},
      {"- deep/*.o"},
      {"- /deep/**/c"},
      {"- x/***"},
      {"+ /x/", "+ /x/y/***", "- *"},
      {"+ */", "+ *.c", "- *"},
      {"- .*"},
      {"- [A-Z]*"},
      {"- [!a-z]*"},
      {"- ?.o"},
      {"- st\\*r"},
      {"- \\[odd\\]"},
      {"- back\\slash"},
      {"- a b"},
      {"+ *.o", "- x/", "!", "- foo"},
      {"exclude *.o"},
      {"exclude,! */"},
      {"-! *.c", "+ *"},
      {"hide cache/*", "show *"},
      {"+ keep", "- cache/*"},
      {"-s *.c"},
      {"-p *.c"},
      {"-_*.c"},
      {"- y/a.o"},
      {"- **"},
      {"- /**/b*"},
      {"- a/b"},
      {"- [a-c]*/**"},
  };
  for (const auto& rules : cases) {
    const auto parsed = FilterRules::parse(rules);
    ASSERT_TRUE(parsed.ok()) << rules.front() << ": " << parsed.error().message();
    Names ours;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(source.path())) {
      const std::string path = std::filesystem::relative(entry.path(), source.path());
      if (!parsed->hide(path, entry.is_directory())) ours.insert(path);
    }
    EXPECT_EQ(ours, by_rsync(source.path(), rules)) << testing::PrintToString(rules);
  }
}

TEST(FilterRules, ThatCannotBeMeantAreRefused) {
  for (const std::string rule : {"", "*.o", "- ", ". /file", "merge /file", ": .rules", "dir-merge x", "P x",
                                 "risk x", "-C", "-/ x", "-x user.*", "excluded x"}) {
    EXPECT_FALSE(FilterRules::parse(std::span(&rule, 1)).ok()) << rule;
  }
}

}  // namespace
}  // namespace rsyncfs
