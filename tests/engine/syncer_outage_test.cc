// SPDX-License-Identifier: GPL-3.0-or-later
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using std::chrono::seconds;
using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

class OutageTest : public ::testing::Test {
 protected:
  static SyncerOptions patient_for(int limit_s) {
    SyncerOptions options;
    options.timeout = seconds(limit_s);
    options.connect_timeout = seconds(2);
    return options;
  }
  std::string served(const std::string& name) const { return tree_ / name; }
  TempDir tree_;
  TempDir store_;
};

TEST_F(OutageTest, AStoppedServerTimesRequestsOutAndServiceResumes) {
  write_file(served("a"), "aaa");
  write_file(served("b"), "bbb");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", patient_for(6));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  ASSERT_EQ(*rig.read_all("a"), "aaa");
  server.pause();
  const auto begun = Clock::now();
  const auto blocked = rig.read(rig.find("b")->id, 0, 10);
  const auto waited = Clock::now() - begun;
  ASSERT_FALSE(blocked.ok());
  EXPECT_EQ(blocked.error().code(), Errc::kTimedOut) << blocked.error().message();
  EXPECT_GT(waited, seconds(3));
  EXPECT_LT(waited, seconds(30));
  EXPECT_EQ(*rig.read_all("a"), "aaa") << "cached bytes need no server";
  server.resume();
  const auto resumed = rig.read_all("b");
  ASSERT_TRUE(resumed.ok()) << resumed.error().message();
  EXPECT_EQ(*resumed, "bbb");
}

TEST_F(OutageTest, AKilledServerIsUnreachableAndItsRestartIsNoticed) {
  write_file(served("a"), "aaa");
  write_file(served("b"), "bbb");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", patient_for(4));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_EQ(*rig.read_all("a"), "aaa");
  server.kill9();
  const auto begun = Clock::now();
  const auto blocked = rig.read(rig.find("b")->id, 0, 10);
  ASSERT_FALSE(blocked.ok());
  EXPECT_EQ(blocked.error().code(), Errc::kUnreachable) << blocked.error().message();
  EXPECT_LT(Clock::now() - begun, seconds(30));
  EXPECT_EQ(rig.status().link, LinkState::kDown);
  server.start();
  const auto resumed = rig.read_all("b");
  ASSERT_TRUE(resumed.ok()) << resumed.error().message();
  EXPECT_EQ(*resumed, "bbb");
  EXPECT_EQ(rig.status().link, LinkState::kUp);
}

TEST_F(OutageTest, ARemoteShellMayTakeItsTimeToLogIn) {
  write_file(served("a"), "aaa");
  const std::string shell = store_ / "slow-shell";
  write_file(shell, "#!/bin/sh\nsleep 5\nshift\nexec sh -c \"$*\"\n", 0755);
  // A server that has logged us in is given up after a third of this.
  SyncerOptions options = patient_for(12);
  options.connect_timeout = seconds(30);
  options.remote_shell = shell;
  EngineRig rig("host:" + tree_.path(), store_ / "s", options);
  const auto started = rig.start();
  ASSERT_TRUE(started.ok()) << started.error().message();
  EXPECT_EQ(*rig.read_all("a"), "aaa");
}

TEST_F(OutageTest, ARestartWithinTheLimitIsNotNoticedByReaders) {
  write_file(served("a"), "aaa");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", patient_for(20));
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  server.kill9();
  auto reading = std::async(std::launch::async, [&] { return rig.read_all("a"); });
  ::usleep(1'500'000);
  server.start();  // on this thread: the child dies with the thread that started it
  const auto bytes = reading.get();
  ASSERT_TRUE(bytes.ok()) << bytes.error().message();
  EXPECT_EQ(*bytes, "aaa");
}

TEST_F(OutageTest, AConnectionCutInTheMiddleOfALargeFileIsTakenUpAgain) {
  const std::string contents = support::random_bytes(64 << 20, 7);
  write_file(served("big"), contents);
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", patient_for(20));
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("big");
  std::string got;
  for (int piece = 0; piece < 64; ++piece) {
    if (piece % 16 == 8) server.drop_connections();
    const auto bytes = rig.read(node->id, got.size(), 1 << 20);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message();
    got += *bytes;
  }
  EXPECT_TRUE(got == contents);
}

TEST_F(OutageTest, OneConnectionIsEnough) {
  support::make_many_files(tree_.path(), 3, 5, 1000);
  write_file(served("big"), support::random_bytes(3 << 20, 8));
  auto options = RsyncDaemon::serving(tree_.path());
  options.modules[0].parameters = {{"max connections", "1"}, {"lock file", store_ / "lock"}};
  RsyncDaemon server(std::move(options));
  EngineRig rig(server.url(), store_ / "s", patient_for(20));
  const auto started = rig.start();
  ASSERT_TRUE(started.ok()) << started.error().message();
  EXPECT_TRUE(*rig.read_all("big") == support::random_bytes(3 << 20, 8));
  std::vector<std::string> dirs;
  ASSERT_TRUE(rig.replica()
                  .list(kRootNode, [&](std::string_view name, const Node&) { dirs.emplace_back(name); })
                  .ok());
  for (const auto& dir : dirs)
    EXPECT_TRUE(rig.find(dir + "/none").error().code() == Errc::kNotFound || dir == "big");
}

TEST_F(OutageTest, CanceledRequestsAreAnsweredAtOnce) {
  write_file(served("a"), "aaa");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), store_ / "s", patient_for(30));
  ASSERT_TRUE(rig.start().ok());
  const auto node = rig.find("a");
  server.pause();
  std::promise<Result<ReadBytes>> promise;
  const auto id =
      rig.syncer().read(node->id, 0, 10, [&](Result<ReadBytes> r) { promise.set_value(std::move(r)); });
  auto future = promise.get_future();
  EXPECT_EQ(future.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  rig.syncer().cancel(id);
  ASSERT_EQ(future.wait_for(seconds(20)), std::future_status::ready);
  const auto result = future.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), Errc::kCanceled);
  server.resume();
}

}  // namespace
}  // namespace rsyncfs
