// SPDX-License-Identifier: GPL-3.0-or-later
// Connections that break and servers that die while changes are on their way.
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/push_rig.h"
#include "tests/support/seed.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using support::write_file;
namespace fs = std::filesystem;

class PushOutageTest : public PushTest {
 protected:
  // A bit of everything that takes more than one session.
  void make_source() {
    fs::create_directories(served("dir/sub"));
    for (int i = 0; i < 20; ++i) write_file(served("dir/sub/f" + std::to_string(i)), "x" + std::to_string(i));
    write_file(served("big"), support::random_bytes(2 << 20, 3));
    write_file(served("log"), support::random_bytes(200'000, 4));
    fs::create_directory(served("in"));
    write_file(served("in/a"), "aaa");
    write_file(served("in/b"), "bbbb");
    fs::create_hard_link(served("in/a"), served("in/a2"));
    fs::create_directory(served("gone"));
    write_file(served("gone/x"), "x");
  }
  void change(EngineRig& rig) {
    auto& local = rig.replica().local();
    const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
    ASSERT_TRUE(rig.rename("dir", "renamed").ok());
    const auto big = rig.find("big");
    ASSERT_TRUE(rig.hydrate(big->id).ok());
    ASSERT_TRUE(local.write(big->id, 1'000'000, bytes("changed")).ok());
    const auto log = rig.find("log");
    ASSERT_TRUE(local.write(log->id, 200'000, bytes("more")).ok());
    const auto in = rig.find("in");
    ASSERT_TRUE(rig.find("in/a").ok());
    ASSERT_TRUE(local.rename(in->id, "a", in->id, "b", RenameMode::kExchange).ok());
    const auto a = rig.find("in/a2");
    ASSERT_TRUE(rig.hydrate(a->id).ok());
    ASSERT_TRUE(local.write(a->id, 0, bytes("AA")).ok());
    ASSERT_TRUE(rig.remove("gone/x").ok());
    ASSERT_TRUE(rig.remove("gone").ok());
    ASSERT_TRUE(rig.make_directory("new").ok());
    ASSERT_TRUE(rig.write("new/f", "new").ok());
  }
  void expect_changed() {
    Names names = {"big", "in", "in/a", "in/a2", "in/b", "log", "new", "new/f", "renamed", "renamed/sub"};
    for (int i = 0; i < 20; ++i) names.push_back("renamed/sub/f" + std::to_string(i));
    std::sort(names.begin(), names.end());
    EXPECT_EQ(listing(), names);
    std::string big = support::random_bytes(2 << 20, 3);
    EXPECT_TRUE(remote("big") == big.replace(1'000'000, 7, "changed"));
    EXPECT_TRUE(remote("log") == support::random_bytes(200'000, 4) + "more");
    EXPECT_EQ(remote("in/a"), "bbbb");
    EXPECT_EQ(remote("in/b"), "AAa");
    EXPECT_EQ(remote("in/a2"), "AAa");
    EXPECT_EQ(remote("new/f"), "new");
    EXPECT_EQ(remote("renamed/sub/f7"), "x7");
  }
};

TEST_F(PushOutageTest, EverythingArrivesWithoutTrouble) {
  make_source();
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  change(*rig_);
  flush();
  expect_changed();
}

TEST_F(PushOutageTest, ConnectionsThatBreakAtAnyMoment) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  make_source();
  options_.writeback_delay = std::chrono::seconds(1000);
  start();
  change(*rig_);
  std::atomic<bool> over{false};
  // On this thread the server is killed, on the other one somebody waits.
  std::thread waiting([&] {
    EXPECT_TRUE(support::wait_until([&] { return rig_->flush().ok(); }, std::chrono::seconds(200)));
    over = true;
  });
  for (int cuts = 0; cuts < 25 && !over; ++cuts) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 120));
    server_->drop_connections();
  }
  waiting.join();
  flush();
  expect_changed();
}

TEST_F(PushOutageTest, AMountThatEndsInTheMiddleIsTakenUpByTheNext) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  make_source();
  options_.writeback_delay = std::chrono::milliseconds(10);
  start();
  change(*rig_);
  for (int ends = 0; ends < 8; ++ends) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
    rig_.reset();
    open();
  }
  flush();
  expect_changed();
}

TEST_F(PushOutageTest, AServerThatIsAwayIsWaitedFor) {
  write_file(served("f"), "old");
  start();
  server_->stop();
  ASSERT_TRUE(rig_->write("f", "new").ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  server_->start();
  flush();
  EXPECT_EQ(remote("f"), "new");
}

}  // namespace
}  // namespace rsyncfs
