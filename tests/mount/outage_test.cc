// SPDX-License-Identifier: GPL-3.0-or-later
// A server that is killed, stopped or unreachable, at every moment: what is cached reads, the rest fails in
// time, no process stays stuck, and service resumes without anybody's help.
#include "tests/mount/mount_rig.h"
#include "tests/support/seed.h"
#include "tests/support/ssh_server.h"

namespace rsyncfs::mount_tests {
namespace {

constexpr int kTimeoutSeconds = 3;
// Of what may pass until a failure is seen: the limit itself, then the time to notice on a busy machine.
constexpr seconds kPatience{kTimeoutSeconds + 27};

class Outage : public OnEachEngine {
 protected:
  Outage() {
    support::make_many_files(tree.path(), 3, 20, 5000);
    support::make_sparse_file(tree / "large", 3ULL << 30, "mark", 1000);
  }
  MountOptions options() const {
    return tree.mount_options(
        {"timeout=" + std::to_string(kTimeoutSeconds), "contimeout=2", "io=" + GetParam()});
  }
  static void expect_same(const std::string& mounted, const std::string& served) {
    const Reading reading = read_whole(mounted);
    // No server answers meanwhile: what waited for it would fail.
    EXPECT_EQ(reading.bytes, support::read_file(served)) << reading.error;
  }
  void expect_resumes(const Mount& mount, const std::string& name) {
    Reading reading;
    EXPECT_TRUE(wait_until(
        [&] {
          reading = read_whole(mount / name);
          return reading.ok;
        },
        seconds(60)))
        << reading.error << mount.log();
    EXPECT_EQ(reading.bytes, support::read_file(tree / name));
  }
  ServedTree tree;
};

TEST_P(Outage, KilledServer) {
  Mount mount(options());
  ASSERT_TRUE(wait_for_tree(mount));
  ASSERT_TRUE(read_whole(mount / "d000/f0001").ok);
  tree.server().kill9();
  expect_same(mount / "d000/f0001", tree / "d000/f0001");
  EXPECT_TRUE(list_names(mount / "d002").ok);
  EXPECT_THAT(read_whole(mount / "d002/f0002", kPatience), GaveUpWaiting());
  EXPECT_NE(mount.status_text("/link/state"), "up");
  tree.server().start();
  expect_resumes(mount, "d002/f0002");
}

TEST_P(Outage, StoppedServer) {
  Mount mount(options());
  ASSERT_TRUE(wait_for_tree(mount));
  ASSERT_TRUE(read_whole(mount / "d000/f0001").ok);
  tree.server().pause();
  expect_same(mount / "d000/f0001", tree / "d000/f0001");
  const Reading reading = read_whole(mount / "d002/f0002", kPatience);
  EXPECT_THAT(reading, GaveUpWaiting());
  EXPECT_GE(reading.seconds, kTimeoutSeconds - 1.5) << "not before its time";
  expect_same(mount / "d000/f0001", tree / "d000/f0001");
  tree.server().resume();
  expect_resumes(mount, "d002/f0003");
}

TEST_P(Outage, StoppedInTheMiddleOfAFile) {
  Mount mount(options());
  support::ChildProcess reader({"bash", "-c", "exec cat \"$0\" >/dev/null", mount / "large"});
  ASSERT_TRUE(wait_until([&] { return mount.status_number("/totals/bytes_in") > (8 << 20); }, seconds(30)));
  tree.server().pause();
  EXPECT_TRUE(reader.wait_for(kPatience)) << "the reader hangs";
  EXPECT_EQ(reader.exit_code(), 1);
  EXPECT_THAT(reader.err(),
              ::testing::AnyOf(::testing::HasSubstr("timed out"), ::testing::HasSubstr("No route")));
  tree.server().resume();
  expect_resumes(mount, "d001/f0001");
}

TEST_P(Outage, ConnectionsCutInTheMiddleOfAFileAreTakenUpAgain) {
  // Much larger than what is awaited below, and small enough to be read whole on a busy machine.
  support::make_sparse_file(tree / "medium", 400U << 20, "mark", 1000);
  Mount mount(options());
  support::ChildProcess reader({"md5sum", mount / "medium"});
  ASSERT_TRUE(wait_until([&] { return mount.status_number("/totals/bytes_in") > (8 << 20); }, seconds(30)));
  tree.server().drop_connections();
  ASSERT_TRUE(reader.wait_for(seconds(120)));
  // Either the reader is told, or it gets every byte right; never wrong bytes.
  if (reader.exit_code() == 0) {
    EXPECT_EQ(reader.out().substr(0, 32),
              support::run_shell("md5sum '" + (tree / "medium") + "'").substr(0, 32));
  }
  expect_resumes(mount, "d001/f0001");
}

TEST_P(Outage, StoppedBeforeTheMountAnswersInTime) {
  tree.server().pause();
  Mount mount(options(), false);
  const CommandResult run = mount.try_mount();
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_FALSE(run.timed_out);
  EXPECT_FALSE(mount.mounted());
  tree.server().resume();
  mount.remount();
  expect_resumes(mount, "d001/f0001");
}

TEST_P(Outage, StoppedAtRandomMoments) {
  const auto seed = static_cast<unsigned>(support::test_seed());
  std::srand(seed);
  Mount mount(options());
  constexpr int kRounds = 5;
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = "d00" + std::to_string(round % 3) + "/f00" + std::to_string(10 + round);
    support::ChildProcess reader({"bash", "-c", "ls -l \"$0\"/.. >/dev/null; exec cat \"$0\"", mount / name});
    reader.wait_for(milliseconds(std::rand() % 30));
    if (std::rand() % 2 == 0) {
      tree.server().pause();
    } else {
      tree.server().kill9();
    }
    const bool stopped = tree.server().running();
    EXPECT_TRUE(reader.wait_for(kPatience + kPatience)) << "round " << round << ": the reader hangs";
    if (reader.exit_code() == 0) {
      EXPECT_EQ(reader.out(), support::read_file(tree / name));
    }
    if (stopped) {
      tree.server().resume();
    } else {
      tree.server().start();
    }
    expect_resumes(mount, name);
  }
  mount.unmount();
}

TEST_P(Outage, StoppedAtRandomMomentsOfMounting) {
  const auto seed = static_cast<unsigned>(support::test_seed());
  std::srand(seed);
  constexpr int kRounds = 6;
  for (int round = 0; round < kRounds; ++round) {
    Mount mount(options(), false);
    support::ProcessOptions process = mount.process_options();
    support::ChildProcess mounting({support::rsyncfs_binary(), tree.server().url(), mount.path(), "-o",
                                    "timeout=3,contimeout=2,io=" + GetParam()},
                                   process);
    mounting.wait_for(milliseconds(std::rand() % 60));
    tree.server().pause();
    ASSERT_TRUE(mounting.wait_for(kPatience)) << "the mount command hangs in round " << round;
    if (mounting.exit_code() != 0) {
      const std::string said = mounting.err();
      EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
      EXPECT_FALSE(mount.mounted());
      tree.server().resume();
      continue;
    }
    const Reading listed = list_names(mount / "d001", kPatience);
    EXPECT_FALSE(listed.timed_out) << "a listing hangs in round " << round;
    tree.server().resume();
    expect_resumes(mount, "d001/f0001");
  }
}

INSTANTIATE_TEST_SUITE_P(Io, Outage, ::testing::Values("uring", "threads"));

TEST(UnreachableServer, IsEndedByContimeout) {
  // TEST-NET-1 is routed nowhere. Where the network answers at once instead, that is as good.
  MountOptions options;
  options.source = "rsync://192.0.2.1/module";
  options.options = {"contimeout=2", "timeout=4"};
  Mount mount(options, false);
  const CommandResult run = mount.try_mount();
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_FALSE(run.timed_out);
  EXPECT_THAT(run.err, ::testing::HasSubstr("192.0.2.1"));
}

TEST(SshOutage, KilledAndStoppedServer) {
  TempDir dir;
  support::make_many_files(dir / "src", 3, 10, 100);
  support::SshServer ssh;
  MountOptions options;
  options.source = ssh.source(dir / "src");
  // Enough for the handshake of ssh on a busy machine, and less than kPatience.
  options.options = {"rsh=" + ssh.rsh(), "timeout=6", "contimeout=10"};
  Mount mount(options);
  ASSERT_TRUE(wait_for_tree(mount));
  ASSERT_TRUE(read_whole(mount / "d000/f0000").ok);
  ssh.pause();
  EXPECT_THAT(read_whole(mount / "d001/f0001", kPatience), GaveUpWaiting());
  EXPECT_TRUE(read_whole(mount / "d000/f0000").ok);
  ssh.resume();
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "d001/f0001").ok; }, seconds(60))) << mount.log();
  ssh.kill9();
  // Of a directory of which nothing was read: what lies beside files that were may be here already.
  EXPECT_THAT(read_whole(mount / "d002/f0005", kPatience), GaveUpWaiting());
  ssh.start();
  EXPECT_TRUE(wait_until([&] { return read_whole(mount / "d002/f0005").ok; }, seconds(60))) << mount.log();
}

}  // namespace
}  // namespace rsyncfs::mount_tests
