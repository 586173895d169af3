// SPDX-License-Identifier: GPL-3.0-or-later
// What is remembered of local changes.
#include "sync/engine/local_work.h"

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

Node version(NodeId id, uint64_t ino) {
  Node node;
  node.id = id;
  node.ino = ino;
  return node;
}

TEST(LocalWork, CountsForLaterVersionsOfTheFileToo) {
  LocalWork work;
  const auto begin = Clock::now();
  EXPECT_FALSE(work.has(version(7, 7), begin));
  work.note(7, begin);
  EXPECT_TRUE(work.has(version(7, 7), begin));
  EXPECT_TRUE(work.has(version(9, 7), begin)) << "of the same inode number";
  EXPECT_FALSE(work.has(version(9, 9), begin));
  EXPECT_FALSE(work.has(version(7, 7), begin + LocalWork::kLately));
  work.note(7, begin + LocalWork::kLately / 2);
  EXPECT_TRUE(work.has(version(7, 7), begin + LocalWork::kLately)) << "again";
}

TEST(LocalWork, OfVeryManyChangesEverythingCounts) {
  LocalWork work;
  const auto begin = Clock::now();
  for (NodeId node = 1; node <= LocalWork::kMost + 1; ++node) work.note(node, begin);
  EXPECT_TRUE(work.has(version(~NodeId{0}, 5), begin));
  EXPECT_FALSE(work.has(version(~NodeId{0}, ~uint64_t{0}), begin + 2 * LocalWork::kLately));
}

}  // namespace
}  // namespace rsyncfs
