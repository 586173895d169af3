// SPDX-License-Identifier: GPL-3.0-or-later
// Metrics of real mounts, as a collector and as a user gets them.
#include <filesystem>
#include <map>
#include <sstream>

#include "tests/mount/mount_rig.h"
#include "tests/mount/writable_mount.h"
#include "tests/support/port_lease.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::HasSubstr;
using Samples = std::map<std::string, double>;

// Everything before the last blank of each line is what it is called.
Samples samples_of(const std::string& page) {
  Samples out;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#")) continue;
    const size_t blank = line.rfind(' ');
    out[line.substr(0, blank)] = std::stod(line.substr(blank + 1));
  }
  return out;
}

std::string curl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"curl", "-sS", "--fail", "--max-time", "20"});
  const CommandResult run = support::run_command(arguments, seconds(30));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return run.out;
}

double wire(const Samples& samples, const std::string& direction, const std::string& purpose) {
  return samples.at("rsyncfs_wire_" + direction + "_bytes_total{purpose=\"" + purpose + "\"}");
}

TEST(Metrics, CountReadsByWhatTheyWere) {
  ServedTree tree;
  support::make_many_files(tree.path(), 2, 20, 20'000);
  const TempDir dir;
  const std::string socket = dir / "m.sock";
  Mount mount(tree.mount_options({"metrics=" + socket, "poll=off", "ro"}));
  ASSERT_TRUE(wait_for_tree(mount));
  const auto ask = [&] { return samples_of(curl({"--unix-socket", socket, "http://localhost/metrics"})); };
  EXPECT_EQ(std::filesystem::status(socket).permissions(), std::filesystem::perms(0600));
  const Samples before = ask();
  EXPECT_EQ(before.at("rsyncfs_link_state{state=\"up\"}"), 1);
  EXPECT_EQ(before.at("rsyncfs_reads_total{cache=\"miss\"}"), 0);
  EXPECT_GT(wire(before, "received", "list"), 0);
  EXPECT_EQ(wire(before, "received", "read"), 0);
  ASSERT_TRUE(read_whole(mount / "d000/f0003").ok);
  std::this_thread::sleep_for(milliseconds(300));  // a page is given again for a moment
  const Samples after = ask();
  EXPECT_GE(after.at("rsyncfs_reads_total{cache=\"miss\"}"), 1);
  EXPECT_GE(after.at("rsyncfs_read_bytes_total{cache=\"miss\"}"), 20'000);
  EXPECT_GE(after.at("rsyncfs_read_miss_duration_seconds_count"), 1);
  EXPECT_GE(wire(after, "received", "read"), 20'000);
  EXPECT_EQ(wire(after, "received", "push"), 0);
  EXPECT_GE(after.at("rsyncfs_fuse_request_duration_seconds_count{operation=\"read\"}"), 1);
  // The sum of the purposes is what status has.
  double sum = 0;
  for (const char* purpose : {"list", "poll", "read", "read_ahead", "push", "ready"})
    sum += wire(after, "received", purpose);
  EXPECT_GT(sum, 20'000);
  EXPECT_LE(sum, static_cast<double>(mount.status_number("/totals/bytes_in")));
  // The next ones are brought before they are asked for.
  for (int i = 4; i < 10; ++i) ASSERT_TRUE(read_whole(mount / ("d000/f000" + std::to_string(i))).ok);
  EXPECT_TRUE(wait_until([&] { return wire(ask(), "received", "read_ahead") > 20'000; }, seconds(20)));
  mount.unmount();
  EXPECT_FALSE(std::filesystem::exists(socket)) << "the socket goes with the mount";
}

TEST(Metrics, CountPushesAndTheirTime) {
  WritableMount work;
  ASSERT_EQ(work.mount_again(), "");
  support::write_file(work / "new", "0123456789");
  ASSERT_EQ(work.flush(), "");
  const CommandResult run = work.mount().command({"status", work.path(), "--metrics"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Samples samples = samples_of(run.out);
  EXPECT_EQ(samples.at("rsyncfs_pushed_files_total"), 1);
  EXPECT_EQ(samples.at("rsyncfs_unsent_oldest_seconds"), 0);
  EXPECT_GE(samples.at("rsyncfs_push_duration_seconds_count"), 1);
  EXPECT_GT(samples.at("rsyncfs_push_duration_seconds_sum"), 0);
  EXPECT_LT(samples.at("rsyncfs_push_duration_seconds_sum"), 60);
  EXPECT_GT(wire(samples, "sent", "push"), 10);
}

TEST(Metrics, CountErrorsByCause) {
  ServedTree tree;
  support::write_file(tree / "file", "x");
  Mount mount(tree.mount_options({"timeout=2", "contimeout=1", "poll=off"}));
  ASSERT_TRUE(wait_for_tree(mount));
  tree.server().stop();
  ASSERT_FALSE(read_whole(mount / "file").ok);
  const CommandResult run = mount.command({"status", mount.path(), "--metrics"});
  const Samples samples = samples_of(run.out);
  EXPECT_EQ(samples.at("rsyncfs_link_state{state=\"down\"}"), 1);
  EXPECT_GE(samples.at("rsyncfs_session_failures_total{cause=\"unreachable\"}"), 1);
  const auto count = [&](const char* name) {
    const auto found = samples.find("rsyncfs_fuse_errors_total{errno=\"" + std::string(name) + "\"}");
    return found == samples.end() ? 0 : found->second;
  };
  EXPECT_GE(count("ETIMEDOUT") + count("EHOSTUNREACH"), 1) << run.out;
}

TEST(Metrics, AreServedOnALoopbackPort) {
  ServedTree tree;
  const support::PortLease lease;
  const std::string address = "127.0.0.1:" + std::to_string(lease.port());
  Mount mount(tree.mount_options({"metrics=" + address}));
  const std::string page = curl({"http://" + address + "/metrics"});
  EXPECT_THAT(page, HasSubstr("source=\"" + tree.server().url() + "\""));
  EXPECT_THAT(page, HasSubstr("mountpoint=\"" + mount.path() + "\""));
}

TEST(Metrics, AWrongAddressIsRefusedAndNothingIsMounted) {
  ServedTree tree;
  const TempDir dir;
  support::write_file(dir / "file", "precious");
  for (const auto& [where, why] :
       std::vector<std::pair<std::string, std::string>>{{"0.0.0.0:9100", "only this machine is served"},
                                                        {dir / "file", "is no socket"},
                                                        {dir / "none/m.sock", "No such file or directory"}}) {
    Mount mount(tree.mount_options({"metrics=" + where}), false);
    const CommandResult run = mount.try_mount();
    EXPECT_NE(run.exit_code, 0) << where;
    EXPECT_THAT(run.err, HasSubstr(why));
    EXPECT_FALSE(mount.mounted());
  }
  EXPECT_EQ(support::read_file(dir / "file"), "precious");
}

TEST(Metrics, OfStatusAreOfOneMount) {
  ServedTree tree;
  Mount mount(tree.mount_options());
  EXPECT_EQ(mount.command({"status", "--metrics"}).exit_code, 2);
  EXPECT_EQ(mount.command({"status", mount.path(), "--metrics", "--json"}).exit_code, 2);
  EXPECT_EQ(mount.command({"status", mount.path(), "--metrics", "--watch"}).exit_code, 2);
  EXPECT_EQ(mount.command({"status", "/", "--metrics"}).exit_code, 1);
}

}  // namespace
}  // namespace rsyncfs::mount_tests
