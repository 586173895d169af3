// SPDX-License-Identifier: GPL-3.0-or-later
// A read-write mount against a native directory and against models, with remounts and kills in between.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fs/mount_server_rig.h"
#include "tests/posix/file_exerciser.h"
#include "tests/posix/parity.h"
#include "tests/posix/random_tree.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs::testing {
namespace {

using posix_tests::ParityOutcome;

// More for longer runs: $RSYNCFS_TEST_OPERATIONS.
uint64_t operations(uint64_t usual) {
  const char* given = std::getenv("RSYNCFS_TEST_OPERATIONS");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : usual;
}

class MountPosix : public ::testing::TestWithParam<std::string> {
 protected:
  MountServer server{"-", GetParam()};
};

std::string open_directory(const std::string& path) {
  ::mkdir(path.c_str(), 0777);
  ::chmod(path.c_str(), 0777);
  return path;
}

TEST_P(MountPosix, EveryCallDoesWhatItDoesOnALocalDisk) {
  support::TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  const std::set<std::string> refused{"create/unnamed", "ranges/collapse", "ranges/insert"};
  posix_tests::ParityOptions options;
  options.native = open_directory(dir / "native");
  options.tested = open_directory(server / "tested");
  size_t same = 0;
  for (const ParityOutcome& outcome : posix_tests::compare_directories(options)) {
    if (outcome.kind == ParityOutcome::Kind::kSame) ++same;
    EXPECT_NE(outcome.kind, ParityOutcome::Kind::kDiffers) << outcome.name << "\n" << outcome.details;
    if (outcome.kind == ParityOutcome::Kind::kRefused) {
      EXPECT_TRUE(refused.contains(outcome.name)) << outcome.name << "\n" << outcome.details;
    }
  }
  EXPECT_GT(same, 30U);
}

TEST_P(MountPosix, AFileKeepsItsBytes) {
  posix_tests::FileExerciserOptions options;
  options.path = server / "file";
  options.operations = operations(1500);
  options.seed = support::test_seed();
  options.pause_every = options.operations / 6;
  bool kill = false;
  options.pause = [this, &kill](uint64_t) {
    kill = !kill;
    if (kill) {
      server.kill9();
      server.start();
    } else {
      server.restart();
    }
    return std::string();
  };
  const posix_tests::ExerciseReport report = posix_tests::FileExerciser(options).run();
  EXPECT_EQ(report.failure, "");
  EXPECT_EQ(report.operations, options.operations);
  EXPECT_TRUE(report.refused.empty()) << *report.refused.begin();
}

TEST_P(MountPosix, ATreeKeepsItself) {
  posix_tests::RandomTreeOptions options;
  options.directory = open_directory(server / "tree");
  options.operations = operations(1500);
  options.seed = support::test_seed();
  const auto compared = [](posix_tests::RandomTree& tree) { return tree.compare(tree.directory(), {}); };
  options.hooks.push_back({.name = "remount",
                           .per_thousand = 2,
                           .closes_handles = true,
                           .run = [this, compared](posix_tests::RandomTree& tree) {
                             server.restart();
                             return compared(tree);
                           }});
  options.hooks.push_back({.name = "kill -9",
                           .per_thousand = 3,
                           .closes_handles = true,
                           .run = [this, compared](posix_tests::RandomTree& tree) {
                             server.kill9();
                             server.start();
                             return compared(tree);
                           }});
  const posix_tests::TreeReport report = posix_tests::RandomTree(options).run();
  EXPECT_EQ(report.failure, "");
  EXPECT_EQ(report.operations, options.operations);
}

INSTANTIATE_TEST_SUITE_P(Profiles, MountPosix, ::testing::Values("no_open", "keep_cache", "passthrough"),
                         [](const auto& profile) { return profile.param; });

}  // namespace
}  // namespace rsyncfs::testing
