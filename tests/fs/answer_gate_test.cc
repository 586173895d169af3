// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/answer_gate.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;

TEST(AnswerGate, WaitsForSectionsThatWereOpen) {
  AnswerGate gate;
  std::optional<AnswerGate::Section> section(std::in_place, gate);
  auto waiter = std::async(std::launch::async, [&] { gate.wait(); });
  EXPECT_EQ(waiter.wait_for(milliseconds(100)), std::future_status::timeout);
  section.reset();
  EXPECT_EQ(waiter.wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST(AnswerGate, LaterSectionsDoNotHoldItUp) {
  AnswerGate gate;
  // Each section ends after the next one began: there is never a moment without one.
  auto section = std::make_unique<AnswerGate::Section>(gate);
  auto waiter = std::async(std::launch::async, [&] { gate.wait(); });
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  bool over = false;
  while (!over && std::chrono::steady_clock::now() < limit) {
    over = waiter.wait_for(milliseconds(1)) == std::future_status::ready;
    section = std::make_unique<AnswerGate::Section>(gate);
  }
  EXPECT_TRUE(over);
}

// Readers answer what they read; after a wait() nobody may still answer what was true before the change.
TEST(AnswerGate, NoOldAnswerComesAfterTheWait) {
  AnswerGate gate;
  std::atomic<uint64_t> truth{0};
  std::atomic<uint64_t> floor{0};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> stale{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        const AnswerGate::Section section(gate);
        const uint64_t read = truth.load();
        std::this_thread::yield();
        if (read < floor.load()) ++stale;
      }
    });
  }
  for (uint64_t version = 1; version <= 3000; ++version) {
    truth.store(version);
    gate.wait();
    floor.store(version);
  }
  stop.store(true);
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(stale.load(), 0U);
}

}  // namespace
}  // namespace rsyncfs
