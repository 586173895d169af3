// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/renamings.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rsyncfs::testing {
namespace {

using Kind = NameChange::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

NameChange change(Kind kind, NodeId node, NodeId renamed = 0) {
  return {kind, kRootNode, "n" + std::to_string(node), node, 0, renamed};
}

TEST(RenamingsTest, WhicheverComesFirstInTheListOneOfThemTells) {
  const Renamings told_by_the_new({change(Kind::kRemoved, 5), change(Kind::kCreated, 9, 5)});
  EXPECT_THAT(told_by_the_new.pairs(), ElementsAre(Pair(0, 1)));
  const Renamings told_by_the_old({change(Kind::kCreated, 9), change(Kind::kRemoved, 5, 9)});
  EXPECT_THAT(told_by_the_old.pairs(), ElementsAre(Pair(1, 0)));
  EXPECT_TRUE(told_by_the_old.has(0));
  EXPECT_TRUE(told_by_the_old.has(1));
}

TEST(RenamingsTest, WhatItReplacesOrGoesOnInIsItsNewPlace) {
  EXPECT_THAT(Renamings({change(Kind::kRemoved, 5), change(Kind::kReplaced, 9, 5)}).pairs(),
              ElementsAre(Pair(0, 1)));
  EXPECT_THAT(Renamings({change(Kind::kRemoved, 5), change(Kind::kAttributes, 9, 5)}).pairs(),
              ElementsAre(Pair(0, 1)));
}

TEST(RenamingsTest, TwoNamesOfOneNode) {
  EXPECT_THAT(Renamings({change(Kind::kRemoved, 5), change(Kind::kCreated, 5)}).pairs(),
              ElementsAre(Pair(0, 1)));
  // A link count that fell is no new name.
  EXPECT_THAT(Renamings({change(Kind::kRemoved, 5), change(Kind::kAttributes, 5)}).pairs(), IsEmpty());
}

TEST(RenamingsTest, NothingIsRenamedTwice) {
  const Renamings two_there(
      {change(Kind::kRemoved, 5), change(Kind::kCreated, 9, 5), change(Kind::kCreated, 10, 5)});
  EXPECT_THAT(two_there.pairs(), ElementsAre(Pair(0, 1)));
  EXPECT_FALSE(two_there.has(2));
  const Renamings two_gone(
      {change(Kind::kCreated, 9), change(Kind::kRemoved, 5, 9), change(Kind::kRemoved, 6, 9)});
  EXPECT_EQ(two_gone.pairs().size(), 1U);
}

TEST(RenamingsTest, OneHalfIsNone) {
  EXPECT_THAT(Renamings({change(Kind::kCreated, 9, 5), change(Kind::kRemoved, 6, 10)}).pairs(), IsEmpty());
  const Renamings nothing{std::vector<NameChange>()};
  EXPECT_FALSE(nothing.has(0));
}

}  // namespace
}  // namespace rsyncfs::testing
