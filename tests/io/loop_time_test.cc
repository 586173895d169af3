// SPDX-License-Identifier: GPL-3.0-or-later
// Timers, posted tasks, and the beginning and end of a run, through both engines.
#include <algorithm>
#include <atomic>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "io/timer_queue.h"
#include "tests/io/loop_fixture.h"
#include "tests/support/seed.h"

namespace rsyncfs::test {
namespace {

using namespace std::chrono_literals;

class LoopTimeTest : public LoopTest {};

TEST_P(LoopTimeTest, TimersFireInOrderAndNotEarly) {
  constexpr size_t kTimers = 5'000;
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  struct Timer {
    TimerId id;
    Clock::time_point earliest;
    bool cancelled = false;
    bool fired = false;
  };
  std::vector<Timer> timers(kTimers);
  size_t fired = 0;
  for (auto& timer : timers) {
    const auto delay = std::chrono::microseconds(random() % 60'000);
    timer.earliest = Clock::now() + delay;
    timer.id = loop().run_after(delay, [&timer, &fired] {
      EXPECT_GE(Clock::now(), timer.earliest);
      EXPECT_FALSE(timer.fired);
      timer.fired = true;
      ++fired;
    });
  }
  for (size_t i = 0; i < kTimers; i += 2) {
    loop().cancel_timer(timers[i].id);
    timers[i].cancelled = true;
  }
  loop().run_after(70ms, [this] { loop().stop(); });
  run();
  EXPECT_EQ(fired, kTimers / 2);
  for (const auto& timer : timers) EXPECT_NE(timer.fired, timer.cancelled);
}

TEST_P(LoopTimeTest, EarlierTimersFireFirst) {
  std::vector<int> order;
  loop().run_after(6ms, [&] { order.push_back(6); });
  loop().run_after(2ms, [&] { order.push_back(2); });
  loop().run_after(-5ms, [&] { order.push_back(0); });
  loop().run_after(4ms, [&] { order.push_back(4); });
  loop().run_after(std::chrono::nanoseconds::max(), [&] { order.push_back(-1); });
  loop().run_after(8ms, [this] { loop().stop(); });
  run();
  EXPECT_EQ(order, (std::vector{0, 2, 4, 6}));
}

TEST_P(LoopTimeTest, ATimerCancelsOneDueAtTheSameTime) {
  bool second = false;
  TimerId victim = 0;
  loop().run_after(1ms, [&] { loop().cancel_timer(victim); });
  victim = loop().run_after(1ms, [&] { second = true; });
  loop().post([] { std::this_thread::sleep_for(3ms); });  // both are due by now
  loop().run_after(5ms, [this] { loop().stop(); });
  run();
  EXPECT_FALSE(second);
  loop().cancel_timer(victim);
  loop().cancel_timer(0);
  loop().cancel_timer(1'000'000);
}

TEST_P(LoopTimeTest, AnImmediateTimerDoesNotStarveTheRest) {
  auto [near, far] = make_socketpair();
  std::string buffer(1, '.');
  Outcome got;
  bool again = true;
  std::function<void()> tick = [&] {
    if (again) loop().run_after(0ns, tick);
  };
  tick();
  loop().recv(near.get(), writable(buffer), into(got));
  std::thread writer([fd = far.get()] {
    std::this_thread::sleep_for(5ms);
    EXPECT_EQ(::write(fd, "x", 1), 1);
  });
  run_all();
  again = false;
  writer.join();
  EXPECT_EQ(error_of(got), 0);
}

TEST_P(LoopTimeTest, APostedTaskThatPostsDoesNotStarveTheRest) {
  std::function<void()> again = [&] { loop().post(again); };
  loop().post(again);
  bool fired = false;
  loop().run_after(2ms, [&] {
    fired = true;
    loop().stop();
  });
  run();
  EXPECT_TRUE(fired);
  again = [] {};
}

TEST_P(LoopTimeTest, WhatACompletionStartsIsNotForgotten) {
  // Everything here is ready at once, so that no event but these would end the wait.
  auto [near, far] = make_socketpair();
  ASSERT_EQ(::write(far.get(), "x", 1), 1);
  std::string buffer(1, '.');
  bool fired = false;
  loop().recv(near.get(), writable(buffer), [&](const Result<size_t>&) {
    loop().run_after(1ms, [&] {
      fired = true;
      loop().post([this] { loop().stop(); });
    });
  });
  run();
  EXPECT_TRUE(fired);
}

TEST_P(LoopTimeTest, PostFromManyThreads) {
  constexpr int kThreads = 8;
  constexpr int kTasks = 10'000;
  std::vector<int> next(kThreads, 0);
  int total = 0;
  const auto receive = [&](int thread, int number) {
    EXPECT_TRUE(loop().in_loop_thread());
    EXPECT_EQ(next[static_cast<size_t>(thread)]++, number);
    if (++total == kThreads * kTasks) loop().stop();
  };
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      EXPECT_FALSE(loop().in_loop_thread());
      for (int number = 0; number < kTasks; ++number) {
        loop().post([&receive, thread, number] { receive(thread, number); });
      }
    });
  }
  run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(total, kThreads * kTasks);
}

TEST_P(LoopTimeTest, StopFromAnotherThreadAndRunAgain) {
  for (int round = 0; round < 20; ++round) {
    std::thread stopper([this] { loop().stop(); });
    run();
    stopper.join();
  }
  // A stop that nobody has seen yet ends the next run.
  loop().stop();
  bool ran = false;
  loop().post([&] { ran = true; });
  run();
  EXPECT_FALSE(ran);
  loop().post([this] { loop().stop(); });
  run();
  EXPECT_TRUE(ran);
}

TEST_P(LoopTimeTest, RunsInAnotherThreadThanTheOneThatMadeIt) {
  auto [near, far] = make_socketpair();
  std::string buffer(1, '.');
  Outcome got;
  loop().recv(near.get(), writable(buffer), into(got));  // waits for run()
  EXPECT_FALSE(loop().in_loop_thread());
  std::thread runner([this] { run_all(); });
  ASSERT_EQ(::write(far.get(), "x", 1), 1);
  runner.join();
  EXPECT_EQ(error_of(got), 0);
  close_loop();  // and dies in a third place than the kernel knows
}

TEST_P(LoopTimeTest, LeftoverTasksAreDestroyedNotRun) {
  const auto alive = std::make_shared<int>(0);
  bool ran = false;
  loop().post([this] { loop().stop(); });
  run();
  loop().post([alive, &ran] { ran = true; });
  loop().run_after(0ns, [alive, &ran] { ran = true; });
  // Its destruction asks for more.
  struct PostsAgain {
    std::shared_ptr<int> alive;
    Loop* loop;
    ~PostsAgain() {
      if (alive) loop->post([kept = alive] {});
    }
  };
  auto last = std::make_unique<PostsAgain>(PostsAgain{nullptr, &loop()});
  last->alive = alive;
  loop().post([last = std::move(last)] {});
  close_loop();
  EXPECT_FALSE(ran);
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_P(LoopTimeTest, IdleMeansAsleep) {
  loop().run_after(50ms, [this] { loop().stop(); });
  run();
  EXPECT_LT(loop().counters().wakeups.load(), 10U);
}

INSTANTIATE_TEST_SUITE_P(Engines, LoopTimeTest, kEngines, engine_name);

TEST(TimerQueue, SameInstantKeepsTheOrderOfAdding) {
  TimerQueue timers;
  const std::atomic<bool> stop{false};
  const Clock::time_point start{};
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) timers.add(start, 5ns, [&order, i] { order.push_back(i); });
  timers.run_due(start + 4ns, stop);
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(timers.next_due(), start + 5ns);
  timers.run_due(start + 5ns, stop);
  EXPECT_EQ(order.size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_EQ(timers.next_due(), std::nullopt);
}

TEST(TimerQueue, CancelledOnesDoNotPileUp) {
  TimerQueue timers;
  const std::atomic<bool> stop{false};
  int fired = 0;
  // The usual life of a timeout: started for each request, cancelled by the answer, never due.
  for (int i = 0; i < 100'000; ++i) timers.cancel(timers.add(Clock::time_point{}, 1h, [&] { ++fired; }));
  timers.add(Clock::time_point{}, 2h, [&] { ++fired; });
  EXPECT_EQ(timers.size(), 1U);
  EXPECT_EQ(timers.next_due(), Clock::time_point{} + 2h);
  timers.run_due(Clock::time_point{} + 3h, stop);
  EXPECT_EQ(fired, 1);
}

TEST(TimerQueue, OneThatStartsItselfAgainWaitsForTheNextCall) {
  TimerQueue timers;
  const std::atomic<bool> stop{false};
  int fired = 0;
  std::function<void()> again = [&] {
    if (++fired < 100) timers.add(Clock::time_point{}, 0ns, again);
  };
  timers.add(Clock::time_point{}, 0ns, again);
  timers.run_due(Clock::time_point{}, stop);
  EXPECT_EQ(fired, 1);
  timers.run_due(Clock::time_point{}, stop);
  EXPECT_EQ(fired, 2);
}

TEST(TimerQueue, StopsBetweenTimers) {
  TimerQueue timers;
  std::atomic<bool> stop{false};
  int fired = 0;
  for (int i = 0; i < 3; ++i) {
    timers.add(Clock::time_point{}, 0ns, [&] {
      if (++fired == 2) stop = true;
    });
  }
  timers.run_due(Clock::time_point{}, stop);
  EXPECT_EQ(fired, 2);
  EXPECT_EQ(timers.size(), 1U);
}

}  // namespace
}  // namespace rsyncfs::test
