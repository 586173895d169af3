// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/executor.h"

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace rsyncfs::test {
namespace {

using namespace std::chrono_literals;

TEST(Executor, RunsEverythingBeforeItEnds) {
  std::atomic<int> ran{0};
  {
    Executor executor(3);
    for (int i = 0; i < 10'000; ++i) executor.submit([&ran] { ++ran; });
  }
  EXPECT_EQ(ran, 10'000);
}

TEST(Executor, UsesAllItsThreads) {
  constexpr int kThreads = 4;
  std::latch all(kThreads);
  Executor executor(kThreads);
  // Each waits for the others: with fewer threads this would never end.
  for (int i = 0; i < kThreads; ++i) executor.submit([&all] { all.arrive_and_wait(); });
  all.wait();
}

TEST(Executor, TasksMaySubmitMoreWhileItEnds) {
  std::atomic<int> ran{0};
  {
    Executor executor(2);
    executor.submit([&] {
      std::this_thread::sleep_for(5ms);
      for (int i = 0; i < 10; ++i) executor.submit([&ran] { ++ran; });
    });
  }
  EXPECT_EQ(ran, 10);
}

TEST(Executor, BacklogCountsWhatHasNotBegun) {
  std::latch begun(1);
  std::latch go(1);
  Executor executor(1);
  executor.submit([&] {
    begun.count_down();
    go.wait();
  });
  begun.wait();
  for (int i = 0; i < 5; ++i) executor.submit([] {});
  EXPECT_EQ(executor.backlog(), 5U);
  go.count_down();
}

TEST(Executor, TasksAreMovedNotCopied) {
  std::atomic<int> sum{0};
  {
    Executor executor(1);
    executor.submit([&sum, owned = std::make_unique<int>(42)] { sum = *owned; });
  }
  EXPECT_EQ(sum, 42);
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the capture goes with the task

TEST(Strand, KeepsOrderAndNeverOverlaps) {
  constexpr int kStrands = 8;
  constexpr int kTasks = 2'000;
  Executor executor(4);
  struct Lane {
    explicit Lane(Executor& executor) : strand(executor) {}
    std::atomic<int> inside{0};
    std::vector<int> order;  // not locked: the strand is the lock
    Strand strand;
  };
  std::vector<std::unique_ptr<Lane>> lanes;
  lanes.reserve(kStrands);
  for (int i = 0; i < kStrands; ++i) lanes.push_back(std::make_unique<Lane>(executor));
  for (int task = 0; task < kTasks; ++task) {
    for (auto& lane : lanes) {
      lane->strand.post([&lane = *lane, task] {
        EXPECT_EQ(lane.inside.fetch_add(1), 0);
        lane.order.push_back(task);
        lane.inside.fetch_sub(1);
      });
    }
  }
  for (auto& lane : lanes) {
    lane->strand.drain();
    ASSERT_EQ(lane->order.size(), static_cast<size_t>(kTasks));
    for (int task = 0; task < kTasks; ++task) ASSERT_EQ(lane->order[static_cast<size_t>(task)], task);
  }
}

TEST(Strand, PostFromManyThreadsLosesNothing) {
  Executor executor(2);
  int count = 0;
  Strand strand(executor);
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 2'000; ++n) strand.post([&count] { ++count; });
    });
  }
  for (auto& thread : threads) thread.join();
  strand.drain();
  EXPECT_EQ(count, 16'000);
}

TEST(Strand, ABusyOneLeavesRoomForOthers) {
  Executor executor(1);
  std::atomic<bool> stop{false};
  std::atomic<bool> other_ran{false};
  Strand busy(executor);
  std::function<void()> again = [&] {
    if (!stop) busy.post(again);
  };
  busy.post(again);
  Strand other(executor);
  other.post([&] { other_ran = true; });
  other.drain();
  EXPECT_TRUE(other_ran);
  stop = true;
  busy.drain();
}

TEST(Strand, EndsIdle) {
  // Again and again, because what is looked for is a race between the last task and the end of the strand.
  Executor executor(3);
  for (int round = 0; round < 2'000; ++round) {
    int ran = 0;
    {
      Strand strand(executor);
      for (int i = 0; i < 3; ++i) strand.post([&ran] { ++ran; });
    }
    ASSERT_EQ(ran, 3);
  }
}

}  // namespace
}  // namespace rsyncfs::test
