// SPDX-License-Identifier: GPL-3.0-or-later
// The checkers on a native directory: nothing is found where nothing is wrong, and every lie is found.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/posix/file_exerciser.h"
#include "tests/posix/forked.h"
#include "tests/posix/lies.h"
#include "tests/posix/parity.h"
#include "tests/posix/random_tree.h"
#include "tests/support/files.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree_compare.h"

namespace rsyncfs::posix_tests {
namespace {

using support::TempDir;
using Kind = ParityOutcome::Kind;

// Long enough that a seed under which a lie stays unseen is not met.
constexpr uint64_t kUntilFound = 20000;

std::vector<ParityOutcome> compare_here(Calls* tested_calls, std::string only) {
  const TempDir native;
  const TempDir tested;
  return compare_directories({native.path(), tested.path(), tested_calls, std::move(only)});
}

TEST(Parity, ADirectoryIsLikeAnother) {
  int same = 0;
  for (const ParityOutcome& outcome : compare_here(nullptr, "")) {
    EXPECT_NE(outcome.kind, Kind::kDiffers) << outcome.name << "\n" << outcome.details;
    EXPECT_NE(outcome.kind, Kind::kRefused) << outcome.name << "\n" << outcome.details;
    if (outcome.kind == Kind::kSame) ++same;
  }
  EXPECT_GE(same, 60) << "cases that could be compared";
}

class RefusesUnnamed : public Calls {
  int open(const std::string& path, int flags, mode_t mode) override {
    return (flags & O_TMPFILE) == O_TMPFILE ? -EOPNOTSUPP : Calls::open(path, flags, mode);
  }
};

TEST(Parity, WhatIsRefusedIsToldFromWhatIsWrong) {
  RefusesUnnamed calls;
  const auto outcomes = compare_here(&calls, "create/unnamed");
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(outcomes[0].kind, Kind::kRefused);
  EXPECT_EQ(outcomes[0].details, "O_TMPFILE: EOPNOTSUPP");
}

class Dies : public Calls {
  int symlink(const std::string&, const std::string&) override { ::_exit(7); }
};

TEST(Parity, ACaseThatEndsTheProcessIsWrong) {
  Dies calls;
  const auto outcomes = compare_here(&calls, "names/symlinks");
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(outcomes[0].kind, Kind::kDiffers);
}

TEST(Forked, OneThatHangsIsKilled) {
  const Told told = run_forked(
      [] {
        while (true) ::pause();
        return std::string();
      },
      std::chrono::milliseconds(50));
  EXPECT_EQ(told.ending, "not at its end after 50 ms");
}

TEST(File, ANativeOneIsLikeItsModel) {
  const TempDir directory;
  const ExerciseReport report =
      FileExerciser({.path = directory / "file", .operations = 2000, .seed = support::test_seed()}).run();
  EXPECT_EQ(report.failure, "");
  EXPECT_EQ(report.operations, 2000U);
  EXPECT_GE(report.done.size(), 13U) << "kinds of operations";
}

TEST(File, IsReplayedByItsSeed) {
  const TempDir directory;
  const uint64_t seed = support::test_seed();
  const auto run = [&](const char* name) {
    return FileExerciser({.path = directory / name, .operations = 500, .seed = seed}).run();
  };
  EXPECT_EQ(run("one").done, run("two").done);
  EXPECT_TRUE(support::read_file(directory / "one") == support::read_file(directory / "two"));
}

TEST(File, PausesAreMadeAndBelieved) {
  const TempDir directory;
  int pauses = 0;
  FileExerciserOptions options{.path = directory / "file", .operations = 100, .seed = support::test_seed()};
  options.pause_every = 10;
  options.pause = [&](uint64_t) { return ++pauses < 5 ? "" : "went wrong"; };
  const ExerciseReport report = FileExerciser(options).run();
  EXPECT_NE(report.failure.find("went wrong"), std::string::npos) << report.failure;
  EXPECT_EQ(pauses, 5);
}

RandomTreeOptions tree_options(const TempDir& directory, uint64_t operations) {
  RandomTreeOptions out;
  out.directory = directory.path();
  out.operations = operations;
  out.seed = support::test_seed();
  return out;
}

TEST(Tree, ANativeOneIsLikeItsModel) {
  const TempDir directory;
  const TreeReport report = RandomTree(tree_options(directory, 2000)).run();
  EXPECT_EQ(report.failure, "");
  EXPECT_EQ(report.operations, 2000U);
  EXPECT_GE(report.refusals, 50U) << "operations that failed as they should";
}

TEST(Tree, IsReplayedByItsSeed) {
  const TempDir one;
  const TempDir two;
  RandomTreeOptions options = tree_options(one, 400);
  const TreeReport first = RandomTree(options).run();
  options.directory = two.path();
  EXPECT_EQ(RandomTree(options).run().done, first.done);
  for (const std::string& line : support::compare_trees(one.path(), two.path())) {
    EXPECT_NE(line.find("mtime"), std::string::npos) << line;
  }
}

TEST(Tree, WhatIsDoneElsewhereCounts) {
  const TempDir parent;
  const std::string tree = parent.make_dir("tree");
  ASSERT_EQ(::symlink(tree.c_str(), (parent / "elsewhere").c_str()), 0);
  RandomTreeOptions options = tree_options(parent, 500);
  options.directory = tree;
  options.hooks.push_back(
      {.name = "somebody else", .per_thousand = 20, .closes_handles = true, .run = [&](RandomTree& random) {
         return random.change_elsewhere(parent / "elsewhere", 5);
       }});
  const TreeReport report = RandomTree(options).run();
  EXPECT_EQ(report.failure, "");
  EXPECT_GT(report.done.count("hook: somebody else"), 0U);
}

TEST(Tree, ADamageByAHookIsSeen) {
  const TempDir directory;
  RandomTreeOptions options = tree_options(directory, kUntilFound);
  options.hooks.push_back({.name = "damage",
                           .per_thousand = 5,
                           .closes_handles = true,
                           .run = [&](RandomTree& random) -> std::string {
                             for (const auto& [path, node] : random.model().all()) {
                               if (!node->is_file() || node->bytes.empty()) continue;
                               Calls calls;
                               calls.truncate(directory / path, static_cast<off_t>(node->bytes.size() - 1));
                               return "";
                             }
                             return "";
                           }});
  EXPECT_NE(RandomTree(options).run().failure, "");
}

class Lies : public testing::TestWithParam<LieKind> {
 protected:
  void SetUp() override {
    if (GetParam().needs_root && ::geteuid() != 0) GTEST_SKIP() << "only root can see it";
    lie = make_lie(GetParam().name);
    ASSERT_NE(lie, nullptr);
  }
  std::unique_ptr<Calls> lie;
};

TEST_P(Lies, AreFound) {
  const auto outcomes = compare_here(lie.get(), std::string(GetParam().parity));
  EXPECT_TRUE(std::any_of(outcomes.begin(), outcomes.end(), [](const ParityOutcome& outcome) {
    return outcome.kind == Kind::kDiffers;
  })) << "posix_parity is taken in";
  const TempDir directory;
  if (GetParam().contents) {
    FileExerciserOptions options{.path = directory / "file",
                                 .operations = kUntilFound,
                                 .seed = support::test_seed(),
                                 .calls = lie.get()};
    EXPECT_NE(FileExerciser(options).run().failure, "") << "fsx_like is taken in";
  }
  if (GetParam().tree) {
    const TempDir tree;
    RandomTreeOptions options = tree_options(tree, kUntilFound);
    options.calls = lie.get();
    EXPECT_NE(RandomTree(options).run().failure, "") << "random_tree is taken in";
  }
}

std::string lie_name(const testing::TestParamInfo<LieKind>& info) {
  std::string out(info.param.name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

INSTANTIATE_TEST_SUITE_P(Each, Lies, testing::ValuesIn(lie_kinds()), lie_name);

}  // namespace
}  // namespace rsyncfs::posix_tests
