// SPDX-License-Identifier: GPL-3.0-or-later
// bwlimit=, address=, sockopts=, ipv4 and ipv6 against real servers.
#include <chrono>
#include <cmath>
#include <filesystem>

#include "tests/mount/writable_mount.h"
#include "tests/support/ssh_server.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::HasSubstr;

constexpr double kKiB = 1024;
constexpr double kRate = 1000;  // KiB/s
constexpr double kTolerated = 0.15;
constexpr size_t kBytes = 4'000'000;

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// Incompressible, so that what is on the wire is what is in the file.
std::string noise(uint64_t seed) {
  return support::random_bytes(kBytes, seed);
}

TEST(Bandwidth, WhatIsReadComesAtTheRate) {
  ServedTree tree;
  support::write_file(tree / "one", noise(1));
  support::write_file(tree / "two", noise(2));
  Mount mount(tree.mount_options({"bwlimit=1000", "poll=off"}));
  ASSERT_TRUE(wait_for_tree(mount));
  const auto began = std::chrono::steady_clock::now();
  // On sessions of their own, at the same time.
  const std::string both =
      "cat " + (mount / "one") + " > /dev/null & cat " + (mount / "two") + " > /dev/null & wait";
  support::run_shell(both);
  const double rate = 2 * kBytes / kKiB / seconds_since(began);
  EXPECT_NEAR(rate, kRate, kTolerated * kRate);
  EXPECT_EQ(mount.status_number("/link/bytes_per_second"), 1000 * 1024);
  EXPECT_THAT(mount.command({"status", mount.path()}).out, HasSubstr("at most 1000 KiB/s each way"));
  RecordProperty("KiB_per_s", static_cast<int>(rate));
}

TEST(Bandwidth, WhatIsPushedGoesAtTheRate) {
  WritableMount mount({"bwlimit=1m", "poll=off"});
  ASSERT_EQ(mount.mount_again(), "");
  support::write_file(mount / "one", noise(1));
  support::write_file(mount / "two", noise(2));
  const auto began = std::chrono::steady_clock::now();
  ASSERT_EQ(mount.flush(), "");
  const double rate = 2 * kBytes / kKiB / seconds_since(began);
  EXPECT_NEAR(rate, kKiB, kTolerated * kKiB);
  EXPECT_EQ(mount.differences(), "");
}

TEST(Bandwidth, HoldsOverTheShell) {
  TempDir dir;
  support::write_file(dir / "one", noise(1));
  const support::SshServer ssh;
  MountOptions options;
  options.source = ssh.source(dir.path());
  options.options = {"rsh=" + ssh.rsh(), "bwlimit=1000"};
  Mount mount(options);
  ASSERT_TRUE(wait_for_tree(mount));
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(read_whole(mount / "one").ok);
  EXPECT_NEAR(kBytes / kKiB / seconds_since(began), kRate, kTolerated * kRate);
}

// While a large file comes in the background, a small one that somebody waits for does not queue behind it.
TEST(Bandwidth, ASmallFileIsReadWhileALargeOneIsFetched) {
  ServedTree tree;
  support::write_file(tree / "large", noise(1) + noise(2) + noise(3));
  support::make_dirs(tree / "d");
  support::write_file(tree / "d/small", support::random_bytes(20'000, 4));
  Mount mount(tree.mount_options({"bwlimit=500"}));
  ASSERT_TRUE(wait_for_tree(mount));
  support::ChildProcess fetch({support::rsyncfs_binary(), "fetch", mount / "large"}, mount.process_options());
  ASSERT_TRUE(wait_until([&] { return mount.status_number("/totals/bytes_in") > 300'000; }, seconds(20)));
  const Reading small = read_whole(mount / "d/small");
  ASSERT_TRUE(small.ok) << small.error;
  EXPECT_LT(small.seconds, 1.5);
  EXPECT_TRUE(fetch.running());
}

// A rate at which a file takes longer than `timeout=` is no failure of the source.
TEST(Bandwidth, ASlowRateIsNoFailure) {
  ServedTree tree;
  support::write_file(tree / "one", support::random_bytes(60'000, 1));
  Mount mount(tree.mount_options({"bwlimit=8", "timeout=3"}));
  const Reading got = read_whole(mount / "one", seconds(40));
  EXPECT_TRUE(got.ok) << got.error;
  EXPECT_GT(got.seconds, 4);
}

TEST(Sockets, ConnectFromTheirAddress) {
  DaemonOptions daemon = RsyncDaemon::serving("");
  daemon.modules[0].parameters = {{"hosts allow", "127.0.0.77"}};
  ServedTree tree(daemon);
  support::write_file(tree / "one", "1");
  Mount refused(tree.mount_options(), false);
  EXPECT_NE(refused.try_mount().exit_code, 0);
  Mount mount(tree.mount_options({"address=127.0.0.77"}));
  EXPECT_EQ(read_whole(mount / "one").bytes, "1");
}

TEST(Sockets, OptionsAndFamiliesAreTakenOrSaidToBeWrong) {
  ServedTree tree;
  support::write_file(tree / "one", "1");
  Mount mount(tree.mount_options({"ipv4", "sockopts=SO_RCVBUF=100000 SO_SNDBUF=50000\\,TCP_NODELAY"}));
  EXPECT_EQ(read_whole(mount / "one").bytes, "1");
  const auto complaint = [&](const std::string& option) {
    MountOptions options = tree.mount_options({option, "contimeout=3"});
    Mount one(options, false);
    const CommandResult run = one.try_mount();
    EXPECT_NE(run.exit_code, 0) << option;
    return run.err;
  };
  EXPECT_THAT(complaint("ipv6"), HasSubstr("has no IPv6 address"));
  EXPECT_THAT(complaint("address=192.0.2.1"), HasSubstr("`ip address` shows this machine's"));
  EXPECT_THAT(complaint("sockopts=SO_LINGER=1"),
              HasSubstr("no socket option known here; there are SO_KEEPALIVE"));
  EXPECT_THAT(complaint("bwlimit=fast"), HasSubstr("KiB a second are needed"));
}

TEST(Sockets, AreNotTheShells) {
  MountOptions options;
  options.source = "nobody.example:/x";
  options.options = {"address=127.0.0.1"};
  Mount mount(options, false);
  EXPECT_THAT(mount.try_mount().err, HasSubstr("tell that, as with rsh='ssh -b ADDRESS'"));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
