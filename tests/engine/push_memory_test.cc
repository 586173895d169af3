// SPDX-License-Identifier: GPL-3.0-or-later
// What is remembered of pushes for a while: where they were, what was sent, what failed.
#include <gtest/gtest.h>

#include "sync/engine/push_failures.h"
#include "sync/engine/push_fences.h"
#include "sync/engine/sent_versions.h"
#include "tests/engine/push_model.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;

PushBatch batch_of(PushAction action, NodeId node, NodeId parent, const std::string& name) {
  PushBatch batch;
  batch.action = action;
  PushStep& step = batch.steps.emplace_back();
  step.node = node;
  step.parent = parent;
  step.name = name;
  return batch;
}

TEST(PushFencesTest, AListThatOverlapsAPushSaysNothingOfItsNames) {
  const PendingModel pending;
  PushFences fences(pending);
  const auto before = Clock::now() - milliseconds(10);
  EXPECT_FALSE(fences.any_since(before));
  fences.begin(batch_of(PushAction::kData, 7, 3, "a"));
  for (const bool over : {false, true}) {
    if (over) fences.end();
    EXPECT_TRUE(fences.any_since(before));
    EXPECT_TRUE(fences.stale(3, before));
    EXPECT_FALSE(fences.stale(4, before));
    EXPECT_TRUE(fences.stale_name(3, "a", before));
    EXPECT_FALSE(fences.stale_name(3, "b", before));
  }
  const auto after = Clock::now() + milliseconds(10);
  EXPECT_FALSE(fences.any_since(after));
  EXPECT_FALSE(fences.stale(3, after));
  EXPECT_FALSE(fences.stale_name(3, "a", after));
}

TEST(PushFencesTest, NorOfWhatIsBelowADirectoryThatMoves) {
  PendingModel pending;
  pending.base[{kRootNode, "d"}] = 5;
  pending.base[{5, "sub"}] = 6;
  pending.base[{kRootNode, "other"}] = 8;
  PushFences fences(pending);
  const auto before = Clock::now() - milliseconds(10);
  fences.begin(batch_of(PushAction::kRenameDirectory, 5, kRootNode, "d"));
  EXPECT_TRUE(fences.stale(6, before));
  fences.end();
  EXPECT_TRUE(fences.stale(6, before)) << "the list may be of the moment in between";
  EXPECT_FALSE(fences.stale(8, before));
  EXPECT_FALSE(fences.stale(6, Clock::now() + milliseconds(10)));
}

TEST(SentVersionsTest, WhatIsThereByNowIsForgottenAndTheRestIsNot) {
  SentVersions sent;
  const FileVersion first{10, 100, 1};
  const FileVersion second{20, 200, 2};
  sent.put(7, {first, std::nullopt});
  sent.put(7, {second, std::nullopt});
  NodeAttributes entry;
  entry.mode = 0100644;
  entry.size = first.size;
  entry.mtime_s = first.mtime_s;
  entry.mtime_ns = first.mtime_ns;
  EXPECT_TRUE(sent.is_of(7, entry));
  sent.erase(7, first);
  EXPECT_FALSE(sent.is_of(7, entry));
  EXPECT_TRUE(sent.has(7));
  const SentVersions again = SentVersions::parse(sent.serialize());
  EXPECT_EQ(again.serialize(), sent.serialize());
  sent.erase(7, second);
  EXPECT_FALSE(sent.has(7));
  EXPECT_TRUE(again.has(7));
}

TEST(PushFailuresTest, WaitsGrowAndEndWithAWish) {
  PushFailures failures;
  const Error why(Errc::kPermission, "not allowed");
  EXPECT_FALSE(failures.next());
  auto wait = Clock::duration::zero();
  for (int i = 0; i < 4; ++i) {
    const PushFailure& failure = failures.note(7, "dir/f", why);
    EXPECT_GT(failure.until - failure.last, wait) << i;
    wait = failure.until - failure.last;
  }
  EXPECT_TRUE(failures.held(Clock::now()).contains(7));
  EXPECT_EQ(failures.left_over("dir/f").message(), "dir/f: not allowed");
  EXPECT_FALSE(failures.changes_meanwhile());
  failures.retry();
  EXPECT_TRUE(failures.held(Clock::now()).empty());
  failures.note(8, "g", Error(Errc::kChanged, "changed"));
  EXPECT_TRUE(failures.changes_meanwhile());
  EXPECT_EQ(failures.texts(1).size(), 1U);
  EXPECT_LE(push_backoff(1000), kLongestPushBackoff);
}

}  // namespace
}  // namespace rsyncfs
