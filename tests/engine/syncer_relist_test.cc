// SPDX-License-Identifier: GPL-3.0-or-later
// Lists that come late, slowly, beside each other, or cannot be stored.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using std::chrono::seconds;
using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

constexpr seconds kLimit{60};
constexpr seconds kLongestPause{90};  // after some lists that did not get in
constexpr int kLongNames = 40;
constexpr size_t kLongName = 200;

// Between the server and us. While there is a file "slow", bytes trickle. Who finds a file "hold" takes it
// away
// ("held") and lets nothing of a list of some length pass until there is a file "go".
constexpr const char* kRelay = R"(
import os, sys, time
here = sys.argv[1] + "/"
slow = os.path.exists(here + "slow")
passed = 0
while True:
    data = os.read(0, 256 if slow else 65536)
    if not data: break
    if slow: time.sleep(0.4)
    passed += len(data)
    if passed > 1000 and os.path.exists(here + "hold"):
        os.rename(here + "hold", here + "held")
        while os.path.exists(here) and not os.path.exists(here + "go"): time.sleep(0.02)
    while data: data = data[os.write(1, data):]
)";

class RelistTest : public ::testing::Test {
 protected:
  void SetUp() override { support::make_dirs(control("")); }
  // Whatever is held back must end.
  void TearDown() override { write_file(control("go"), ""); }

  std::string served(const std::string& name) const { return tree_ / name; }
  std::string control(const std::string& name) const { return store_ / ("control/" + name); }
  // As long as a relayed list must be to be held back.
  void make_long_directory(const std::string& name) const {
    support::make_dirs(served(name));
    for (int i = 0; i < kLongNames; ++i) {
      write_file(served(name + "/" + std::to_string(100 + i) + std::string(kLongName, 'n')), "");
    }
  }
  std::unique_ptr<EngineRig> relayed_rig(SyncerOptions options = {}) const {
    write_file(store_ / "relay.py", kRelay);
    options.remote_shell = store_ / "shell";
    write_file(options.remote_shell,
               "#!/bin/sh\nshift\neval \"$@\" | python3 " + (store_ / "relay.py") + " " + control("") + "\n",
               0755);
    return std::make_unique<EngineRig>("host:" + tree_.path(), store_ / "s", options);
  }
  bool held() const {
    return support::wait_until([&] { return ::access(control("held").c_str(), F_OK) == 0; }, kLimit);
  }

  TempDir tree_;
  TempDir store_;
};

TEST_F(RelistTest, WhatAYoungerListShowedIsKept) {
  make_long_directory("a");
  support::make_dirs(served("b"));
  support::make_dirs(served("c"));
  write_file(served("a/one"), "x");
  write_file(served("c/p"), "x");
  ASSERT_EQ(::link(served("a/one").c_str(), served("b/two").c_str()), 0);
  ASSERT_EQ(::link(served("c/p").c_str(), served("c/q").c_str()), 0);
  write_file(control("hold"), "");
  const auto rig = relayed_rig();
  ASSERT_TRUE(rig->start().ok());
  ASSERT_TRUE(held());
  ASSERT_EQ(::chmod(served("a/one").c_str(), 0600), 0);
  const bool may_give = ::chown(served("a/one").c_str(), 7, 8) == 0;
  write_file(served("c/p"), "longer");
  ASSERT_TRUE(rig->find("a/one").ok());
  const auto p = rig->find("c/p");
  ASSERT_TRUE(p.ok());
  EXPECT_EQ(p->attr.size, 6U);
  ASSERT_FALSE(rig->status().tree_listed);
  write_file(control("go"), "");
  ASSERT_TRUE(rig->wait_for_tree());
  const auto one = rig->find("a/one");
  const auto two = rig->find("b/two");
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->attr.mode & 0777U, 0600U);
  EXPECT_TRUE(one->attr.uid == 7U || !may_give);
  EXPECT_EQ(one->id, two->id);
  EXPECT_EQ(one->attr.nlink, 2U);
  const auto after = rig->find("c/p");
  const auto q = rig->find("c/q");
  ASSERT_TRUE(after.ok() && q.ok());
  EXPECT_EQ(after->id, p->id);
  EXPECT_EQ(q->id, p->id);
  EXPECT_EQ(q->attr.size, 6U);
}

TEST_F(RelistTest, ADirectoryTakenAwayWhileItIsListedIsGone) {
  const auto rig = relayed_rig();
  ASSERT_TRUE(rig->start().ok());
  ASSERT_TRUE(rig->wait_for_tree());
  make_long_directory("x");
  ASSERT_TRUE(rig->list(kRootNode).ok());
  const auto x = rig->find("x");
  ASSERT_TRUE(x.ok());
  write_file(control("hold"), "");
  std::promise<Result<void>> promise;
  rig->syncer().list_directory(x->id, [&](Result<void> result) { promise.set_value(std::move(result)); });
  ASSERT_TRUE(held());
  std::filesystem::remove_all(served("x"));
  ASSERT_TRUE(rig->list(kRootNode).ok());
  ASSERT_FALSE(rig->find("x").ok());
  write_file(control("go"), "");
  auto future = promise.get_future();
  ASSERT_EQ(future.wait_for(kLimit), std::future_status::ready);
  const auto listed = future.get();
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), Errc::kVanished) << listed.error().message();
  EXPECT_TRUE(rig->list(kRootNode).ok());
}

TEST_F(RelistTest, AListThatKeepsComingIsWaitedFor) {
  make_long_directory("x");
  write_file(control("hold"), "");  // the tree's
  SyncerOptions options;
  options.timeout = seconds(6);
  const auto rig = relayed_rig(options);
  ASSERT_TRUE(rig->start().ok());
  ASSERT_TRUE(held());
  const auto x = rig->find("x");
  ASSERT_TRUE(x.ok());
  write_file(control("slow"), "");
  const auto begun = Clock::now();
  const auto listed = rig->list(x->id);
  const auto took = Clock::now() - begun;
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_GT(took, options.timeout) << "the test did not test it";
  EXPECT_TRUE(rig->find("x/100" + std::string(kLongName, 'n')).ok());
}

TEST_F(RelistTest, ATreeWhoseSessionMadeRoomIsListedAgainAfterAnOutage) {
  support::make_dirs(served("d"));
  write_file(served("d/old"), "x");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  SyncerOptions options;
  options.max_sessions = 1;
  EngineRig rig(server.url(), store_ / "s", options);
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto d = rig.find("d");
  ASSERT_TRUE(d.ok());
  ASSERT_TRUE(rig.list(kRootNode).ok());  // takes the only place
  server.kill9();
  write_file(served("d/new"), "x");
  ASSERT_TRUE(support::wait_until([&] { return rig.status().link == LinkState::kDown; }, kLimit));
  server.start();
  EXPECT_TRUE(support::wait_until([&] { return rig.replica().lookup(d->id, "new").ok(); }, kLimit));
}

// On a file system of its own, where that may be mounted.
class FullStoreTest : public RelistTest {
 protected:
  void SetUp() override {
    RelistTest::SetUp();
    if (::mount("none", disk_.path().c_str(), "tmpfs", 0, "size=32m,mode=0700") != 0)
      GTEST_SKIP() << "mounting is not permitted here";
    mounted_ = true;
  }
  void TearDown() override {
    RelistTest::TearDown();
    if (mounted_) ::umount2(disk_.path().c_str(), MNT_DETACH);
  }
  void fill() const {
    std::ofstream file(disk_ / "fill");
    const std::string block(4096, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) continue;
  }
  TempDir disk_;
  bool mounted_ = false;
};

TEST_F(FullStoreTest, StoredNamesServeAndTheTreeIsListedWhenThereIsSpace) {
  constexpr int kNewNames = 20'000;  // more than the database could take without growing
  support::make_dirs(served("d"));
  write_file(served("d/old"), "x");
  RsyncDaemon server(RsyncDaemon::serving(tree_.path()));
  EngineRig rig(server.url(), disk_ / "s");
  ASSERT_TRUE(rig.start().ok());
  ASSERT_TRUE(rig.wait_for_tree());
  const auto d = rig.find("d");
  ASSERT_TRUE(d.ok());
  fill();
  for (int i = 0; i < kNewNames; ++i) write_file(served("d/" + std::to_string(i)), "");
  const auto listed = rig.list(d->id);
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_TRUE(rig.replica().lookup(d->id, "old").ok());
  // The answer may have come before the list, which is long.
  const auto names_failed = [&] {
    return rig.status().last_error.find("could not be stored") != std::string::npos;
  };
  EXPECT_TRUE(support::wait_until(names_failed, kLimit)) << rig.status().last_error;
  server.drop_connections();  // the tree is listed again, and does not fit either
  ASSERT_TRUE(support::wait_until(
      [&] { return rig.status().last_error.find("tree's list") != std::string::npos; }, kLimit));
  EXPECT_FALSE(rig.replica().lookup(d->id, "0").ok());
  ASSERT_EQ(::unlink((disk_ / "fill").c_str()), 0);
  EXPECT_TRUE(support::wait_until([&] { return rig.replica().lookup(d->id, "0").ok(); }, kLongestPause));
}

}  // namespace
}  // namespace rsyncfs
