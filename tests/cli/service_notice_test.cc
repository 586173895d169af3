// SPDX-License-Identifier: GPL-3.0-or-later
// What a service manager is told: the test is the manager, with a socket as systemd makes it.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/cli/program.h"
#include "tests/support/files.h"
#include "tests/support/mount_table.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs::cli_tests {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class Manager {
 public:
  explicit Manager(const std::string& path) : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strncpy(at.sun_path, path.c_str(), sizeof at.sun_path - 1);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0) << path;
  }
  // The next message; "" if none comes.
  std::string next(milliseconds limit) {
    pollfd ready{socket_.get(), POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(limit.count())) <= 0) return "";
    std::array<char, 4096> text{};
    const ssize_t got = recv(socket_.get(), text.data(), text.size(), 0);
    return {text.data(), got < 0 ? 0 : static_cast<size_t>(got)};
  }
  // The next one that says so, others left out.
  std::string next_with(const std::string& word, seconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < end) {
      std::string message = next(milliseconds(100));
      if (message.find(word) != std::string::npos) return message;
    }
    return "";
  }

 private:
  UniqueFd socket_;
};

class Service : public ::testing::Test {
 protected:
  Service() {
    support::write_file(tree / "file", "served");
    DaemonOptions options = RsyncDaemon::serving(tree.path());
    options.modules[0].read_only = false;
    server.emplace(options);
  }
  using DaemonOptions = support::DaemonOptions;
  using RsyncDaemon = support::RsyncDaemon;
  support::ProcessOptions told(support::Environment more = {}) {
    support::ProcessOptions options;
    options.environment = {{"RSYNCFS_STATE_DIR", dir / "state"},
                           {"RSYNCFS_RUNTIME_DIR", dir / "run"},
                           {"NOTIFY_SOCKET", dir / "notify"}};
    for (auto& variable : more) options.environment.push_back(std::move(variable));
    return options;
  }
  std::vector<std::string> words(const std::string& source) const {
    return {support::rsyncfs_binary(), "-f", "-o", "writeback_delay=0.1", source, mnt};
  }

  support::TempDir tree;
  support::TempDir dir;
  std::string mnt = dir.make_dir("mnt");
  std::optional<RsyncDaemon> server;
  Manager manager{dir / "notify"};
};

TEST_F(Service, IsReadyWhenItIsUsableAndSaysThatItStops) {
  support::ChildProcess daemon(words(server->url()), told());
  const std::string ready = manager.next(seconds(20));
  EXPECT_THAT(ready, HasSubstr("READY=1\n"));
  EXPECT_THAT(ready, HasSubstr("\nMAINPID=" + std::to_string(daemon.pid()) + "\n"));
  EXPECT_THAT(ready, HasSubstr("\nSTATUS=" + server->url() + " on " + mnt));
  EXPECT_EQ(support::read_file(mnt + "/file"), "served");
  EXPECT_EQ(manager.next(milliseconds(300)), "") << "without a watchdog nobody waits for more";
  daemon.signal(SIGTERM);
  EXPECT_THAT(manager.next(seconds(20)), HasSubstr("STOPPING=1\n"));
  ASSERT_TRUE(daemon.wait_for(seconds(20)));
  EXPECT_EQ(daemon.exit_code(), 0) << daemon.err();
}

TEST_F(Service, InTheBackgroundTheDaemonIsNamed) {
  const support::CommandResult run =
      support::run_command({support::rsyncfs_binary(), server->url(), mnt}, seconds(30), told());
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string ready = manager.next(seconds(20));
  const std::string status =
      support::run_command({support::rsyncfs_binary(), "status", mnt, "--json"}, seconds(20), told()).out;
  const size_t at = status.find("\"pid\":");
  ASSERT_NE(at, std::string::npos) << status;
  EXPECT_THAT(ready, HasSubstr("MAINPID=" + std::to_string(std::stoi(status.substr(at + 6))) + "\n"));
  EXPECT_EQ(support::run_command({support::rsyncfs_binary(), "umount", mnt}, seconds(20), told()).exit_code,
            0);
}

TEST_F(Service, TheWatchdogHearsFromOneThatLives) {
  support::ChildProcess daemon(words(server->url()), told({{"WATCHDOG_USEC", "1200000"}}));
  ASSERT_THAT(manager.next(seconds(20)), HasSubstr("READY=1"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(manager.next(milliseconds(1200)), "WATCHDOG=1");
  daemon.signal(SIGTERM);
  ASSERT_TRUE(daemon.wait_for(seconds(20)));
}

TEST_F(Service, AWatchdogOfAnotherProcessIsNotOurs) {
  support::ChildProcess daemon(words(server->url()),
                               told({{"WATCHDOG_USEC", "400000"}, {"WATCHDOG_PID", "1"}}));
  ASSERT_THAT(manager.next(seconds(20)), HasSubstr("READY=1"));
  EXPECT_EQ(manager.next(milliseconds(800)), "");
  daemon.signal(SIGTERM);
  ASSERT_TRUE(daemon.wait_for(seconds(20)));
}

// systemd sends SIGKILL when its limit is over, unless it is told that more time is needed.
TEST_F(Service, AsksForTheTimeThatSendingTakes) {
  support::ChildProcess daemon(words(server->url()), told());
  ASSERT_THAT(manager.next(seconds(20)), HasSubstr("READY=1"));
  support::write_file(mnt + "/last", "words");
  daemon.signal(SIGTERM);
  const std::string sending = manager.next_with("sending", seconds(20));
  EXPECT_THAT(sending, HasSubstr("EXTEND_TIMEOUT_USEC="));
  const size_t at = sending.find("EXTEND_TIMEOUT_USEC=");
  ASSERT_NE(at, std::string::npos);
  EXPECT_GE(std::stoll(sending.substr(at + 20)), 30'000'000);
  ASSERT_TRUE(daemon.wait_for(seconds(40)));
  EXPECT_EQ(support::read_file(tree / "last"), "words");
}

TEST_F(Service, ItsChildrenDoNotSpeakForIt) {
  const std::string shell = dir / "shell";
  support::write_file(shell, "#!/bin/sh\nenv > '" + (dir / "environment") + "'\nexit 1\n");
  ASSERT_EQ(chmod(shell.c_str(), 0755), 0);
  std::vector<std::string> argv = words("host:/path");
  argv[3] += ",rsh=" + shell;
  support::ChildProcess daemon(argv, told({{"WATCHDOG_USEC", "400000"}}));
  ASSERT_TRUE(daemon.wait_for(seconds(40)));
  EXPECT_EQ(daemon.exit_code(), 1);
  const std::string environment = support::read_file(dir / "environment");
  EXPECT_THAT(environment, HasSubstr("PATH="));
  EXPECT_THAT(environment, ::testing::Not(HasSubstr("NOTIFY_SOCKET")));
  EXPECT_THAT(environment, ::testing::Not(HasSubstr("WATCHDOG")));
}

// A manager that is gone, or an address that is none, is no reason not to mount.
TEST_F(Service, MountsThoughNobodyListens) {
  for (const char* address : {"/no/such/socket", "nonsense", "@", ""}) {
    support::ChildProcess daemon(words(server->url()), told({{"NOTIFY_SOCKET", address}}));
    EXPECT_TRUE(
        support::wait_until([&] { return !support::mounts_below(dir.path()).empty(); }, seconds(20)))
        << address;
    daemon.signal(SIGTERM);
    ASSERT_TRUE(daemon.wait_for(seconds(20)));
  }
}

}  // namespace
}  // namespace rsyncfs::cli_tests
