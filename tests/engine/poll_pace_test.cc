// SPDX-License-Identifier: GPL-3.0-or-later
// How often the source is looked at, and where.
#include "sync/engine/poll_pace.h"

#include <thread>

#include <gtest/gtest.h>

#include "sync/engine/directories_in_use.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(PollPace, SmallListsComeEachSecond) {
  EXPECT_EQ(directories_interval({}, {}), seconds(1));
  EXPECT_EQ(directories_interval({}, {100, 2'200}), seconds(1));
  EXPECT_LT(least_gap({100, 500}), milliseconds(300));
}

// At 12 us an entry, and 14 bytes.
TEST(PollPace, WhatCostsMoreComesLessOften) {
  const ListCost many{100'000, 1'400'000};
  EXPECT_GE(directories_interval({}, many), seconds(60));
  EXPECT_GE(directories_interval({}, {10'000, 10}), seconds(6)) << "the server's processor";
  EXPECT_GE(directories_interval({}, {10, 40'960}), seconds(10)) << "the link";
  // 200,000 files must be looked at for less than 1 kB a second.
  const ListCost tree{200'401, 3'728'401};
  const auto every = tree_interval({}, tree, false);
  EXPECT_LT(static_cast<double>(tree.bytes) / std::chrono::duration<double>(every).count(), 1'000);
  EXPECT_LE(every, kLongestPollInterval);
  EXPECT_EQ(tree_interval({}, {9, 500}, false), seconds(5));
  EXPECT_LT(tree_interval({}, tree, true), every) << "while somebody is at work";
  EXPECT_EQ(tree_interval({}, {~uint64_t{0} >> 20, ~uint64_t{0} >> 20}, true), kLongestPollInterval);
}

TEST(PollPace, TheUserHasTheLastWord) {
  const PollOptions fixed{.mode = PollOptions::Mode::kFixed, .every = milliseconds(300)};
  EXPECT_EQ(directories_interval(fixed, {100'000, 1'400'000}), milliseconds(300));
  EXPECT_EQ(tree_interval(fixed, {100'000, 1'400'000}, false), seconds(3));
  const PollOptions off{.mode = PollOptions::Mode::kOff};
  EXPECT_EQ(directories_interval(off, {}), kLongestPollInterval);
  EXPECT_EQ(tree_interval(off, {}, true), kLongestPollInterval);
}

TEST(DirectoriesInUse, AreThoseThatWereTouchedLately) {
  DirectoriesInUse directories;
  const auto begin = Clock::now();
  EXPECT_TRUE(directories.touch(7, begin)) << "for the first time";
  EXPECT_FALSE(directories.touch(7, begin + milliseconds(500)));
  EXPECT_TRUE(directories.touch(7, begin + milliseconds(500) + DirectoriesInUse::kRest)) << "after a rest";
  EXPECT_TRUE(directories.touch(8, begin + seconds(20)));
  EXPECT_EQ(directories.in_use(begin + seconds(21), 10), (std::vector<NodeId>{8, 7}))
      << "the last used first";
  EXPECT_EQ(directories.in_use(begin + seconds(21), 1), (std::vector<NodeId>{8}));
  const auto forgotten = begin + milliseconds(500) + DirectoriesInUse::kRest + DirectoriesInUse::kLinger;
  EXPECT_EQ(directories.in_use(forgotten, 10).size(), 2U);
  EXPECT_EQ(directories.in_use(forgotten + milliseconds(1), 10), (std::vector<NodeId>{8}));
  EXPECT_EQ(directories.size(), 1U) << "the other is forgotten";
}

TEST(DirectoriesInUse, AreNotMoreThanSoMany) {
  DirectoriesInUse directories;
  const auto now = Clock::now();
  for (NodeId node = 1; node <= 2 * DirectoriesInUse::kMost; ++node) directories.touch(node, now);
  EXPECT_EQ(directories.size(), DirectoriesInUse::kMost);
}

TEST(DirectoriesInUse, AreTouchedByManyThreads) {
  DirectoriesInUse directories;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&directories] {
      for (NodeId node = 0; node < 10'000; ++node) directories.touch(node % 100, Clock::now());
    });
  }
  for (int i = 0; i < 100; ++i) EXPECT_LE(directories.in_use(Clock::now(), 1'000).size(), 100U);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(directories.in_use(Clock::now(), 1'000).size(), 100U);
}

}  // namespace
}  // namespace rsyncfs
