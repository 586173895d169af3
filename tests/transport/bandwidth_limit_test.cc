// SPDX-License-Identifier: GPL-3.0-or-later
// How fast streams move bytes together, who is first, and what waiting costs.
#include "sync/transport/bandwidth_limit.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "tests/transport/transport_rig.h"

namespace rsyncfs {
namespace {

using test::milliseconds;
using test::seconds;

constexpr uint64_t kRate = 400 * 1024;

class BandwidthLimitTest : public test::TransportTest {
 protected:
  void SetUp() override {
    TransportTest::SetUp();
    if (loop_runs()) on_loop([this] { limit.emplace(loop(), kRate); });
  }
  void TearDown() override {
    if (loop_runs()) {
      on_loop([this] {
        streams.clear();
        limit.reset();
      });
    }
    TransportTest::TearDown();
  }
  // A pair of sockets: what is sent into one comes out of the other, and one of them is paced.
  struct Pair {
    std::unique_ptr<Stream> ours;
    std::unique_ptr<Stream> theirs;
    test::Collector at_ours;
    test::Collector at_theirs;
  };
  Pair& add(Urgency urgency) {
    return *streams.emplace_back(on_loop([&] {
      std::array<int, 2> ends{};
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
      auto pair = std::make_unique<Pair>();
      pair->ours = std::make_unique<Stream>(loop(), ends[0], ends[0], nullptr);
      pair->theirs = std::make_unique<Stream>(loop(), ends[1], ends[1], nullptr);
      pair->ours->pace(&*limit, urgency);
      pair->ours->start(pair->at_ours);
      pair->theirs->start(pair->at_theirs);
      return pair;
    }));
  }
  void push(Stream& into, size_t bytes) {
    on_loop([&] {
      ByteQueue data;
      const std::vector<std::byte> all(bytes);
      data.append(std::span<const std::byte>(all));
      into.send(data);
    });
  }
  size_t received(Pair& pair) {
    return on_loop([&] { return pair.at_ours.bytes.size(); });
  }
  double rate_of(const std::function<bool()>& done, uint64_t bytes) {
    const auto began = Clock::now();
    EXPECT_TRUE(eventually(done));
    return static_cast<double>(bytes) / std::chrono::duration<double>(Clock::now() - began).count();
  }

  std::optional<BandwidthLimit> limit;
  std::vector<std::unique_ptr<Pair>> streams;
};

constexpr double kTolerated = 0.15;
// Beside the bytes that it lasts for, what a burst lets through at once.
double expected(uint64_t bytes, uint64_t rate) {
  const double burst =
      static_cast<double>(rate) * std::chrono::duration<double>(TokenBucket::kBurstTime).count();
  return static_cast<double>(rate) * static_cast<double>(bytes) / (static_cast<double>(bytes) - burst);
}

TEST_P(BandwidthLimitTest, SeveralStreamsAreReadAtTheRateTogether) {
  constexpr uint64_t kEach = 400 * 1024;
  std::array<Pair*, 3> all{&add(Urgency::kPoll), &add(Urgency::kPoll), &add(Urgency::kPush)};
  for (Pair* pair : all) push(*pair->theirs, kEach);
  const double rate = rate_of(
      [&] {
        return std::ranges::all_of(all, [](Pair* pair) { return pair->at_ours.bytes.size() == kEach; });
      },
      3 * kEach);
  EXPECT_NEAR(rate, expected(3 * kEach, kRate), kTolerated * kRate);
}

TEST_P(BandwidthLimitTest, WhatIsSentIsPacedByItself) {
  constexpr uint64_t kEach = 800 * 1024;
  Pair& pair = add(Urgency::kPush);
  push(*pair.theirs, kEach);
  push(*pair.ours, kEach);
  const double rate = rate_of(
      [&] { return pair.at_ours.bytes.size() == kEach && pair.at_theirs.bytes.size() == kEach; }, kEach);
  EXPECT_NEAR(rate, expected(kEach, kRate), kTolerated * kRate);
}

TEST_P(BandwidthLimitTest, AReadMissOvertakesReadAheadAndLeavesItSomeTurns) {
  constexpr uint64_t kMuch = 4 << 20;
  constexpr uint64_t kWanted = 600 * 1024;
  Pair& ahead = add(Urgency::kReadAhead);
  push(*ahead.theirs, kMuch);
  ASSERT_TRUE(eventually([&] { return ahead.at_ours.bytes.size() > 64 * 1024; }));
  Pair& wanted = add(Urgency::kReadMiss);
  const size_t before = received(ahead);
  push(*wanted.theirs, kWanted);
  const double rate = rate_of([&] { return wanted.at_ours.bytes.size() == kWanted; }, kWanted);
  const size_t meanwhile = received(ahead) - before;
  // Seven turns of eight are its own.
  EXPECT_GT(rate, 0.7 * kRate);
  EXPECT_GT(meanwhile, kWanted / 20);
  EXPECT_LT(meanwhile, kWanted / 4);
}

TEST_P(BandwidthLimitTest, AStreamThatBecomesUrgentIsServedSoon) {
  constexpr uint64_t kMuch = 4 << 20;
  Pair& other = add(Urgency::kPoll);
  Pair& late = add(Urgency::kReadAhead);
  push(*other.theirs, kMuch);
  push(*late.theirs, kMuch);
  ASSERT_TRUE(eventually([&] { return other.at_ours.bytes.size() > 200 * 1024; }));
  on_loop([&] { late.ours->set_urgency(Urgency::kReadMiss); });
  const size_t before = received(late);
  const size_t others = received(other);
  ASSERT_TRUE(eventually([&] { return late.at_ours.bytes.size() - before > 200 * 1024; }));
  EXPECT_LT(received(other) - others, 80U * 1024);
}

// Turns are of 10 KiB here: one wakeup for the readiness, one for the turn, one for the bytes.
TEST_P(BandwidthLimitTest, WaitingTakesNoMoreWakeupsThanTurns) {
  constexpr uint64_t kBytes = 800 * 1024;
  Pair& pair = add(Urgency::kReadMiss);
  push(*pair.theirs, kBytes);
  const uint64_t before = loop().counters().wakeups;
  std::this_thread::sleep_for(milliseconds(1500));
  const uint64_t wakeups = loop().counters().wakeups - before;
  const size_t bytes = received(pair);
  EXPECT_LT(bytes, 900U * 1024);
  EXPECT_LT(wakeups, 8 * (bytes / (10 * 1024) + 1));
}

TEST_P(BandwidthLimitTest, AStreamThatEndsLeavesItsTurnToOthers) {
  Pair& first = add(Urgency::kReadMiss);
  Pair& second = add(Urgency::kPoll);
  push(*first.theirs, 4 << 20);
  push(*second.theirs, 100 * 1024);
  ASSERT_TRUE(eventually([&] { return limit->in.waiting() == 2; }));
  on_loop([&] { first.ours.reset(); });
  EXPECT_TRUE(eventually([&] { return second.at_ours.bytes.size() == 100 * 1024; }, seconds(10)));
  EXPECT_EQ(on_loop([&] { return limit->in.waiting(); }), 0U);
}

INSTANTIATE_TEST_SUITE_P(Engines, BandwidthLimitTest, test::kEngines, test::engine_name);

}  // namespace
}  // namespace rsyncfs
