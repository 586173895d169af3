// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/lookup_table.h"

#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

TEST(LookupTable, TheRootIsAlwaysKnown) {
  LookupTable table;
  EXPECT_EQ(table.size(), 1U);
  EXPECT_FALSE(table.remove(kRootNode, 1'000'000));
  EXPECT_GE(table.count(kRootNode), 1U);
}

TEST(LookupTable, LastRemoveSaysSo) {
  LookupTable table;
  table.add(7, 2);
  table.add(7);
  EXPECT_EQ(table.count(7), 3U);
  EXPECT_FALSE(table.remove(7, 2));
  EXPECT_TRUE(table.remove(7, 1));
  EXPECT_EQ(table.count(7), 0U);
  EXPECT_FALSE(table.remove(7, 1));
}

TEST(LookupTable, TooManyForgetsAreAllOfThem) {
  LookupTable table;
  table.add(7, 2);
  EXPECT_TRUE(table.remove(7, 5));
  EXPECT_EQ(table.count(7), 0U);
}

TEST(LookupTable, MarksGoWithTheNode) {
  LookupTable table;
  table.mark(9);
  EXPECT_FALSE(table.is_marked(9));
  table.add(9);
  EXPECT_FALSE(table.is_marked(9));
  table.mark(9);
  table.add(9);
  EXPECT_TRUE(table.is_marked(9));
  EXPECT_EQ(table.count(9), 2U);
  table.remove(9, 2);
  table.add(9);
  EXPECT_FALSE(table.is_marked(9));
}

TEST(LookupTable, BehavesAsAMap) {
  const auto seed = static_cast<unsigned>(support::test_seed());
  std::mt19937 random(seed);
  LookupTable table;
  std::map<NodeId, uint64_t> model;
  for (int step = 0; step < 400'000; ++step) {
    // Phases of growth and shrinking, so that shards are resized both ways.
    const bool grow = (step / 50'000) % 2 == 0;
    const NodeId node = 2 + random() % 20'000;
    const uint64_t count = 1 + random() % 3;
    if (random() % 4 < (grow ? 3U : 1U)) {
      table.add(node, count);
      model[node] += count;
    } else {
      const auto at = model.find(node);
      const bool last = at != model.end() && at->second <= count;
      ASSERT_EQ(table.remove(node, count), last);
      if (last) {
        model.erase(at);
      } else if (at != model.end()) {
        at->second -= count;
      }
    }
  }
  EXPECT_EQ(table.size(), model.size() + 1);
  for (NodeId node = 2; node < 20'002; ++node) {
    const auto at = model.find(node);
    ASSERT_EQ(table.count(node), at == model.end() ? 0 : at->second) << node;
  }
}

TEST(LookupTable, CountsFromManyThreads) {
  LookupTable table;
  constexpr int kThreads = 4;
  constexpr NodeId kNodes = 5000;
  std::vector<std::thread> threads;
  std::atomic<int> lasts{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (NodeId n = 2; n < 2 + kNodes; ++n) table.add(n, 2);
      for (NodeId n = 2; n < 2 + kNodes; ++n) lasts += table.remove(n, 1) ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  // Some thread may have been alone with a node for a while, but each still holds one.
  EXPECT_EQ(lasts.load(), 0);
  for (NodeId n = 2; n < 2 + kNodes; ++n) ASSERT_EQ(table.count(n), static_cast<uint64_t>(kThreads));
}

}  // namespace
}  // namespace rsyncfs
