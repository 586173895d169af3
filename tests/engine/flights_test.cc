// SPDX-License-Identifier: GPL-3.0-or-later
// How many round trips are waited for until something is there, counted by a link that delays; and what is
// done when a server is not what it was taken for.
#include <algorithm>
#include <filesystem>
#include <numeric>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/ssh_server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unreliable_link.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using support::DaemonOptions;
using support::RsyncDaemon;
using support::TempDir;
using support::UnreliableLink;
using support::wait_until;
using support::write_file;

constexpr std::chrono::milliseconds kOneWay{40};
constexpr uint64_t kLargeBytes = 3 << 20;
constexpr std::chrono::seconds kSoon{10};

class FlightsTest : public ::testing::Test {
 protected:
  FlightsTest() { large_ = support::random_bytes(kLargeBytes, 1); }

  void serve(bool login = false) {
    write_file(tree_ / "small", "small");
    std::filesystem::create_directories(tree_ / "a/b");
    write_file(tree_ / "a/b/large", large_);
    DaemonOptions options = RsyncDaemon::serving(tree_.path());
    if (login) options.modules[0].users = {{"u", "secret"}};
    if (!daemon_) {
      daemon_ = std::make_unique<RsyncDaemon>(options);
      link_ = std::make_unique<UnreliableLink>(daemon_->port());
      link_->delay(kOneWay);
    } else {
      daemon_->reconfigure(options);
    }
    options_.password = login ? "secret" : "";
  }
  void open(const std::string& user = "", const std::string& below = "") {
    rig_.reset();
    link_->count_flights();
    first_ = link_->flights().size();
    rig_ = std::make_unique<EngineRig>("rsync://" + (user.empty() ? "" : user + "@") +
                                           "127.0.0.1:" + std::to_string(link_->port()) + "/m/" + below,
                                       store_ / ("s" + std::to_string(below.size())), options_);
    const auto started = rig_->start();
    ASSERT_TRUE(started.ok()) << started.error().message();
  }
  // Since open() or count_flights(), by all connections together.
  int flights() const {
    const auto each = link_->flights();
    return std::accumulate(each.begin(), each.end(), 0);
  }
  int flights_of_first() const { return link_->flights().at(first_); }
  void expect_quiet() {
    const SyncerStatus status = rig_->status();
    EXPECT_EQ(status.last_error, "");
    EXPECT_EQ(status.link, LinkState::kUp);
  }
  std::string read_all(const std::string& path) {
    const auto bytes = rig_->read_all(path);
    return bytes.ok() ? *bytes : bytes.error().message();
  }
  // Until all connections that were begun have said what they have to.
  void settle() {
    ASSERT_TRUE(rig_->wait_for_tree());
    for (int before = -1; std::exchange(before, flights()) != flights();)
      std::this_thread::sleep_for(6 * kOneWay);
  }

  TempDir tree_;
  TempDir store_;
  std::string large_;
  SyncerOptions options_;
  std::unique_ptr<RsyncDaemon> daemon_;
  std::unique_ptr<UnreliableLink> link_;
  std::unique_ptr<EngineRig> rig_;
  size_t first_ = 0;  // connection since open()
};

TEST_F(FlightsTest, ADaemonThatNobodyKnowsIsOpenedInOneFlight) {
  serve();
  open();
  EXPECT_EQ(flights_of_first(), 1);
  expect_quiet();
  open();
  EXPECT_EQ(flights_of_first(), 1);
}

TEST_F(FlightsTest, WithALoginTwoAreNeeded) {
  serve(true);
  for (int mount = 0; mount < 2; ++mount) {
    open("u");
    EXPECT_EQ(flights_of_first(), 2) << mount;
    expect_quiet();
  }
}

TEST_F(FlightsTest, OlderProtocolsToo) {
  serve();
  for (const int protocol : {30, 31}) {
    options_.max_protocol = protocol;
    open();
    EXPECT_EQ(flights_of_first(), 1) << protocol;
    EXPECT_EQ(rig_->status().protocol, protocol);
    EXPECT_EQ(read_all("a/b/large"), large_);
  }
}

// The request for its contents goes out with that for its list.
TEST_F(FlightsTest, TheFirstByteOfALargeFileNeedsOneFlight) {
  serve();
  options_.keep_ready = false;
  for (const std::string below : {"", "a/", "a/b/"}) {
    open("", below);
    settle();
    const auto node = rig_->find(std::string("a/b/large").substr(below.size()));
    ASSERT_TRUE(node.ok());
    for (const uint64_t offset : {kLargeBytes / 2, uint64_t{0}}) {
      link_->count_flights();
      const size_t before = link_->flights().size();
      const auto bytes = rig_->read(node->id, offset, 4096);
      ASSERT_TRUE(bytes.ok()) << bytes.error().message();
      EXPECT_EQ(*bytes, large_.substr(offset, 4096));
      EXPECT_EQ(link_->flights().size(), before + 1);
      EXPECT_EQ(flights(), 1) << below << " " << offset;
    }
  }
}

TEST_F(FlightsTest, AConnectionIsKeptReadyForTheNextSession) {
  serve(true);
  open("u");
  settle();
  ASSERT_TRUE(wait_until(
      [&] {
        const auto sessions = rig_->status().sessions;
        return std::ranges::any_of(sessions, [](const auto& s) { return s.state == "ready"; });
      },
      kSoon));
  settle();
  const auto node = rig_->find("a/b/large");
  ASSERT_TRUE(node.ok());
  const size_t before = link_->flights().size();
  link_->count_flights();
  ASSERT_TRUE(rig_->read(node->id, 0, 4096).ok());
  const auto each = link_->flights();
  EXPECT_EQ(std::accumulate(each.begin(), each.begin() + static_cast<ptrdiff_t>(before), 0), 1);
}

// A ready connection takes a place that a session needs.
TEST_F(FlightsTest, AReadyConnectionGivesWayWhereThereMayBeFew) {
  serve();
  for (const char* most : {"2", "3"}) {
    DaemonOptions options = RsyncDaemon::serving(tree_.path());
    options.modules[0].parameters = {{"max connections", most}, {"lock file", store_ / "lock"}};
    daemon_->reconfigure(options);
    std::filesystem::remove_all(store_ / "s0");
    open();
    ASSERT_TRUE(rig_->wait_for_tree());
    EXPECT_EQ(read_all("a/b/large"), large_);
    EXPECT_EQ(read_all("small"), "small");
    expect_quiet();
  }
}

// Beside TCP's own round trip: the list of the root, and the request.
TEST_F(FlightsTest, AFileIsThereTwoFlightsAfterTheMountBegan) {
  serve();
  options_.keep_ready = false;
  open();
  EXPECT_EQ(read_all("small"), "small");
  EXPECT_EQ(flights_of_first(), 2);
}

// Beside the root's: the connection that was made with it, for the directory; the tree's, the push probe's, and
// one that is kept ready.
TEST_F(FlightsTest, TheDirectoryThatIsAskedForFirstHasAConnection) {
  serve();
  write_file(tree_ / "a/b/small", "small");
  open("", "a");
  EXPECT_EQ(read_all("b/small"), "small");
  settle();
  EXPECT_LE(link_->flights().size() - first_, 5U);
}

// The server has closed it, and we know nothing of that yet.
TEST_F(FlightsTest, AReadyConnectionThatIsAtItsEndCostsNothing) {
  serve(true);
  open("u");
  settle();
  const auto node = rig_->find("a/b/large");
  ASSERT_TRUE(node.ok());
  link_->reset();
  const auto bytes = rig_->read(node->id, 0, 4096);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message();
  EXPECT_EQ(*bytes, large_.substr(0, 4096));
}

TEST_F(FlightsTest, ALoginThatWasNotExpectedIsMadeAndRemembered) {
  serve();
  open("u");
  EXPECT_EQ(flights_of_first(), 1);
  settle();
  serve(true);
  open("u");
  expect_quiet();
  EXPECT_GT(daemon_->connections(), 1);
  settle();
  rig_.reset();
  open("u");
  EXPECT_EQ(flights_of_first(), 2);
  expect_quiet();
}

TEST_F(FlightsTest, NorAreUsersToldOfALoginThatFails) {
  serve(true);
  options_.password = "";
  rig_ = std::make_unique<EngineRig>("rsync://127.0.0.1:" + std::to_string(link_->port()) + "/m",
                                     store_ / "s", options_);
  const auto started = rig_->start();
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code(), Errc::kAuth);
  EXPECT_EQ(started.error().message().find("expected"), std::string::npos) << started.error().message();
}

// A server before rsync 3.2.0: names no digests, and does not take 'v'. Played by a real one that is not
// asked for it.
class OldServerTest : public FlightsTest {
 protected:
  void make_old() {
    link_->tamper([](std::string& bytes, bool up) {
      if (up) {
        const size_t at = bytes.find("CIvu");
        if (at != std::string::npos) bytes[at + 2] = 'u';
      } else if (bytes.starts_with("@RSYNCD: 32.0 ")) {
        bytes.replace(0, bytes.find('\n'), "@RSYNCD: 31.0");
      }
    });
  }
};

TEST_F(OldServerTest, IsMetStepByStepAndRemembered) {
  serve();
  make_old();
  options_.keep_ready = false;
  open();
  expect_quiet();
  EXPECT_EQ(flights_of_first(), 1);
  EXPECT_GT(link_->flights().at(first_ + 1), 1);
  ASSERT_TRUE(rig_->wait_for_tree());
  EXPECT_EQ(read_all("a/b/large"), large_);
  EXPECT_EQ(read_all("small"), "small");
  expect_quiet();
  settle();
  open();
  EXPECT_EQ(flights_of_first(), 1);
  EXPECT_EQ(read_all("small"), "small");
  expect_quiet();
}

TEST_F(OldServerTest, IsTakenForWhatItIsAfterAnUpgrade) {
  serve();
  make_old();
  open();
  settle();
  rig_.reset();
  link_->tamper(nullptr);
  open();
  expect_quiet();
  settle();
  open();
  EXPECT_EQ(flights_of_first(), 1);
  expect_quiet();
}

TEST_F(OldServerTest, TakesWhatIsPushedAfterADowngrade) {
  serve();
  DaemonOptions options = RsyncDaemon::serving(tree_.path());
  options.modules[0].read_only = false;
  daemon_->reconfigure(options);
  options_.writeback_delay = std::chrono::milliseconds(0);
  open();
  settle();
  make_old();
  ASSERT_TRUE(rig_->write("small", "pushed").ok());
  const auto flushed = rig_->flush();
  ASSERT_TRUE(flushed.ok()) << flushed.error().message();
  EXPECT_EQ(support::read_file(tree_ / "small"), "pushed");
}

// What goes out with the request for the list is for a place in it: a list that turns out otherwise costs a
// retry.
TEST_F(FlightsTest, AFileThatIsNoFileAnyMoreFailsAsEver) {
  serve();
  open();
  settle();
  const auto node = rig_->find("a/b/large");
  ASSERT_TRUE(node.ok());
  std::filesystem::remove(tree_ / "a/b/large");
  std::filesystem::create_directory(tree_ / "a/b/large");
  auto bytes = rig_->read(node->id, 0, 4096);
  EXPECT_FALSE(bytes.ok());
  std::filesystem::remove(tree_ / "a/b/large");
  write_file(tree_ / "a/b/large", large_ + "more");
  ASSERT_TRUE(rig_->list(rig_->find("a/b")->id).ok());
  EXPECT_EQ(read_all("a/b/large"), large_ + "more");
  expect_quiet();
}

class SharedShellTest : public ::testing::Test {
 protected:
  SharedShellTest() : link_(ssh_.port()) {
    support::make_many_files(tree_.path(), 3, 2, 2'000'000);
    link_.delay(kOneWay);
    options_.remote_shell = ssh_.rsh() + " -p " + std::to_string(link_.port()) +
                            " -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null";
    options_.runtime_directory = run_.path();
    options_.timeout = std::chrono::seconds(60);
  }
  std::unique_ptr<EngineRig> open() {
    auto rig = std::make_unique<EngineRig>(ssh_.source(tree_.path()), store_ / "s", options_);
    const auto started = rig->start();
    EXPECT_TRUE(started.ok()) << started.error().message();
    return rig;
  }
  int logins() const {
    const std::string log = ssh_.log();
    int count = 0;
    for (size_t at = 0; (at = log.find("Accepted publickey", at)) != std::string::npos; ++at) ++count;
    return count;
  }
  static void read_everything(EngineRig& rig) {
    ASSERT_TRUE(rig.wait_for_tree());
    for (const char* path : {"d000/f0000", "d001/f0000", "d002/f0000"}) {
      const auto bytes = rig.read_all(path);
      ASSERT_TRUE(bytes.ok()) << path << ": " << bytes.error().message();
      EXPECT_EQ(bytes->size(), 2'000'000U);
    }
  }

  TempDir tree_;
  TempDir store_;
  TempDir run_;
  support::SshServer ssh_;
  UnreliableLink link_;
  SyncerOptions options_;
};

TEST_F(SharedShellTest, OneLoginServesAllSessionsAndEndsWithTheMount) {
  {
    const auto rig = open();
    const int first = link_.flights().at(0);
    read_everything(*rig);
    EXPECT_EQ(logins(), 1);
    ASSERT_EQ(link_.flights().size(), 1U);
    // Five sessions, of two round trips and what their contents take; a login of each would take `first`.
    EXPECT_GT(first, 5);
    EXPECT_FALSE(std::filesystem::is_empty(run_.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(run_.path()));
}

TEST_F(SharedShellTest, WithoutADirectoryForTheSocketEachSessionLogsIn) {
  options_.runtime_directory.clear();
  const auto rig = open();
  read_everything(*rig);
  EXPECT_GT(logins(), 2);
}

TEST_F(SharedShellTest, WhatTheUserConfiguredIsLeftAlone) {
  options_.remote_shell += " -oControlPath=none";
  const auto rig = open();
  read_everything(*rig);
  EXPECT_GT(logins(), 2);
  EXPECT_TRUE(std::filesystem::is_empty(run_.path()));
}

TEST_F(SharedShellTest, ASharedConnectionThatBreaksIsMadeAgain) {
  const auto rig = open();
  ASSERT_TRUE(rig->wait_for_tree());
  link_.reset();
  read_everything(*rig);
  EXPECT_GE(logins(), 2);
}

}  // namespace
}  // namespace rsyncfs
