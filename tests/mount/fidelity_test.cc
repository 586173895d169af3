// SPDX-License-Identifier: GPL-3.0-or-later
// The mount equals the served tree, attribute by attribute and byte by byte, whatever serves it.
#include <optional>

#include "tests/mount/mount_rig.h"
#include "tests/support/old_rsync.h"
#include "tests/support/ssh_server.h"
#include "tests/support/torture_tree.h"

namespace rsyncfs::mount_tests {
namespace {

using support::compare_trees;
using support::join_lines;
using support::SshServer;
using ::testing::Combine;
using ::testing::Values;

constexpr const char* kServed = "/usr/include";

void expect_equal(const std::string& served, const Mount& mount,
                  const std::vector<std::string>& diff_options = {},
                  const support::CompareOptions& options = {}) {
  EXPECT_EQ(join_lines(compare_trees(served, mount.path(), options)), "");
  std::vector<std::string> argv = {"diff", "-r", "--no-dereference"};
  argv.insert(argv.end(), diff_options.begin(), diff_options.end());
  argv.insert(argv.end(), {served, mount.path()});
  const CommandResult diff = support::run_command(argv, std::chrono::minutes(4));
  EXPECT_EQ(diff.exit_code, 0) << (diff.out + diff.err).substr(0, 4000) << mount.log();
}

class Fidelity : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override { require_engine(std::get<1>(GetParam())); }
  static std::string peer() { return std::get<0>(GetParam()); }
  static std::string io() { return "io=" + std::get<1>(GetParam()); }
};

// By these names the peers are listed below.
struct Peer {
  explicit Peer(const std::string& name) {
    if (name == "ssh") {
      ssh.emplace();
      options.source = ssh->source(kServed);
      options.options = {"rsh=" + ssh->rsh()};
      return;
    }
    DaemonOptions server = RsyncDaemon::serving(kServed);
    if (name == "old") server.rsync = support::require_old_rsync();
    if (name == "auth") {
      server.modules[0].users = {{"alice", "pass word"}};
      options.environment = {{"RSYNC_PASSWORD", "pass word"}};
    }
    daemon.emplace(server);
    options.source = daemon->url("m", "", name == "auth" ? "alice" : "");
    if (name == "protocol30") options.options = {"protocol=30"};
    if (name == "protocol31") options.options = {"protocol=31"};
    if (name == "zstd" || name == "zlibx") options.options = {"compress=" + name};
  }
  std::optional<RsyncDaemon> daemon;
  std::optional<SshServer> ssh;
  MountOptions options;
};

TEST_P(Fidelity, UsrInclude) {
  Peer peer_used(peer());
  peer_used.options.options.push_back(io());
  Mount mount(peer_used.options);
  EXPECT_THAT(mount.status_text("/io/engine"), ::testing::HasSubstr(std::get<1>(GetParam())));
  support::CompareOptions options;
  options.nanoseconds = peer() != "protocol30";
  expect_equal(kServed, mount, {}, options);
  const int64_t protocol = mount.status_number("/link/protocol");
  if (peer().starts_with("protocol")) {
    EXPECT_EQ("protocol" + std::to_string(protocol), peer());
  }
  const bool compressed = peer() == "zstd" || peer() == "zlibx";
  EXPECT_EQ(mount.status_text("/link/compression"), compressed ? peer() : "none");
  mount.unmount();
}
std::string name_of(const ::testing::TestParamInfo<Fidelity::ParamType>& info) {
  return std::get<0>(info.param) + "_" + std::get<1>(info.param);
}
INSTANTIATE_TEST_SUITE_P(Peers, Fidelity,
                         Combine(Values("current", "old", "ssh", "auth", "protocol30", "protocol31", "zstd",
                                        "zlibx"),
                                 Values("uring", "threads")),
                         name_of);

class Torture : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override { require_engine(std::get<1>(GetParam())); }
};

TEST_P(Torture, EveryNameTypeAndAttribute) {
  const auto& [peer, io] = GetParam();
  DaemonOptions server;
  if (peer == "old") server.rsync = support::require_old_rsync();
  ServedTree tree(server);
  support::make_torture_tree(tree.path());
  Mount mount(tree.mount_options({"io=" + io}));
  // Holes of 5 GiB are read by the large file's own test; diff has its own opinion of two equal FIFOs.
  support::CompareOptions options;
  options.contents_limit = 100U << 20;
  expect_equal(tree.path(), mount, {"-x", "fifo*", "-x", "special", "-x", "five-gib", "-x", "huge"}, options);
}
INSTANTIATE_TEST_SUITE_P(Peers, Torture, Combine(Values("current", "old"), Values("uring", "threads")),
                         name_of);

TEST(NumericIds, AreShownAsTheSourceHasThem) {
  ServedTree tree;
  support::make_torture_tree(tree.path(), {.odd_names = 20, .seed = 5, .large_files = false});
  Mount mount(tree.mount_options({"numeric_ids"}));
  EXPECT_EQ(join_lines(compare_trees(tree.path(), mount.path())), "");
}

}  // namespace
}  // namespace rsyncfs::mount_tests
