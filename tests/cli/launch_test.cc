// SPDX-License-Identifier: GPL-3.0-or-later
// Starting a daemon that cannot be: one line, exit code 1, nothing left behind; and how one starts that can.
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/cli/program.h"
#include "tests/support/files.h"
#include "tests/support/mount_table.h"
#include "tests/support/port_lease.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs::cli_tests {
namespace {

using std::chrono::seconds;
using support::CommandResult;
using ::testing::HasSubstr;

class Launch : public ::testing::Test {
 protected:
  CommandResult run(std::vector<std::string> words, support::Environment environment = {}) {
    words.insert(words.begin(), support::rsyncfs_binary());
    support::ProcessOptions options;
    options.environment = std::move(environment);
    for (const auto& variable : places()) options.environment.push_back(variable);
    return support::run_command(words, seconds(60), options);
  }
  support::Environment places() const {
    return {{"RSYNCFS_STATE_DIR", dir / "state"}, {"RSYNCFS_RUNTIME_DIR", dir / "run"}};
  }
  // Each of its threads: a signal reaches them one after the other.
  static bool is_stopped(pid_t pid) {
    const std::string states =
        "cat /proc/" + std::to_string(pid) + "/task/*/stat | sed 's/.*) //' | cut -c 1";
    const std::string found = support::run_shell(states);
    return !found.empty() && found.find_first_not_of("T\n") == std::string::npos;
  }
  pid_t daemon_pid() {
    const std::string status = run({"status", mnt, "--json"}).out;
    const size_t at = status.find("\"pid\":");
    return at == std::string::npos ? -1 : std::stoi(status.substr(at + 6));
  }
  void expect_refused(const CommandResult& result, int exit_code, const std::string& words) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(words));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, ::testing::StartsWith("rsyncfs: "));
    EXPECT_TRUE(support::mounts_below(dir.path()).empty());
  }
  std::vector<std::string> names_in(const std::string& path) {
    std::vector<std::string> names;
    DIR* open_dir = opendir(path.c_str());
    while (const dirent* entry = open_dir != nullptr ? readdir(open_dir) : nullptr) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    if (open_dir != nullptr) closedir(open_dir);
    return names;
  }

  support::TempDir dir;
  std::string mnt = dir.make_dir("mnt");
};

TEST_F(Launch, WithoutAServerFailsAtOnceAndLeavesNothing) {
  const support::PortLease lease;
  const CommandResult result = run({"rsync://127.0.0.1:" + std::to_string(lease.port()) + "/m", mnt});
  expect_refused(result, 1, "refused");
  EXPECT_LT(result.seconds, 20.0);
  EXPECT_TRUE(names_in(dir / "state").empty()) << "no store of a mount that never was";
  EXPECT_TRUE(names_in(dir / "run").empty());
}

// Takes connections into its backlog and never says a word.
class SilentServer {
 public:
  explicit SilentServer(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ok_ = bind(fd_.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address) ==
              0 &&
          listen(fd_.get(), 16) == 0;
  }
  bool ok() const { return ok_; }

 private:
  UniqueFd fd_;
  bool ok_ = false;
};

TEST_F(Launch, ASilentServerIsGivenUpWithinTheLimits) {
  const support::PortLease lease;
  const SilentServer server(lease.port());
  ASSERT_TRUE(server.ok());
  const CommandResult result =
      run({"rsync://127.0.0.1:" + std::to_string(lease.port()) + "/m", mnt, "-o", "timeout=2,contimeout=1"});
  expect_refused(result, 1, std::to_string(lease.port()));
  EXPECT_LT(result.seconds, 25.0) << "less than without the options";
}

TEST_F(Launch, InTheForegroundFailsTheSameWay) {
  const support::PortLease lease;
  const CommandResult result = run({"-f", "-q", "-o", "log_file=" + (dir / "log"),
                                    "rsync://127.0.0.1:" + std::to_string(lease.port()) + "/m", mnt});
  expect_refused(result, 1, "refused");
}

TEST_F(Launch, UsageIsExitCodeTwo) {
  expect_refused(run({"rsync://h/m", mnt, "-o", "timeuot=1"}), 2, "'timeout'");
  expect_refused(run({"not-a-source", mnt}), 2, "rsync://");
  expect_refused(run({"rsync://user:secret@h/m", mnt}), 2, "RSYNC_PASSWORD");
  expect_refused(run({"h:path", mnt, "-o", "password_file=/x"}), 2, "password_file");
}

TEST_F(Launch, APasswordInTheSourceIsNotRepeated) {
  EXPECT_EQ(run({"rsync://user:secret@h/m", mnt}).err.find("secret"), std::string::npos);
}

TEST_F(Launch, PlacesThatCannotBeUsedAreNamed) {
  expect_refused(run({"rsync://h/m", dir / "none"}), 1, dir / "none");
  support::write_file(dir / "file", "");
  expect_refused(run({"rsync://h/m", dir / "file"}), 1, "not a directory");
  expect_refused(run({"rsync://h/m", mnt, "-o", "store=" + mnt + "/below"}), 1, "inside the mount");
  expect_refused(run({"rsync://h/m", mnt, "-o", "log_file=/no/such/directory/log"}), 1, "log file");
  expect_refused(run({"rsync://h/m", mnt, "-o", "store=" + (dir / "file")}), 1, dir / "file");
  expect_refused(run({"rsync://h/m", mnt}, {{"RSYNCFS_STATE_DIR", "relative"}}), 2, "RSYNCFS_STATE_DIR");
}

TEST_F(Launch, TheDaemonIsOnItsOwn) {
  const support::TempDir tree;
  support::write_file(tree / "file", "x");
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  const CommandResult result = run({server.url(), mnt, "-o", "ro"}, {{"RSYNC_PASSWORD", "not needed"}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out + result.err, "");
  const CommandResult status = run({"status", mnt, "--json"});
  const size_t at = status.out.find("\"pid\":");
  ASSERT_NE(at, std::string::npos);
  const std::string proc = "/proc/" + std::to_string(std::stoi(status.out.substr(at + 6)));
  EXPECT_EQ(support::run_shell("readlink " + proc + "/cwd"), "/\n");
  EXPECT_THAT(support::run_shell("readlink " + proc + "/fd/0 " + proc + "/fd/1 " + proc + "/fd/2"),
              ::testing::MatchesRegex("/dev/null\n/dev/null\n" + dir.path() + "/state/.*/rsyncfs.log\n"));
  EXPECT_EQ(support::run_shell("awk '{print ($6 == $1) ? \"leader\" : \"member\"}' " + proc + "/stat"),
            "leader\n");
  EXPECT_THAT(support::run_shell("grep Umask " + proc + "/status"), HasSubstr("0077"));
  struct stat info {};
  ASSERT_EQ(stat((dir / "run").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  EXPECT_EQ(run({"umount", mnt}).exit_code, 0);
  EXPECT_TRUE(names_in(dir / "run").empty()) << "socket and record are gone with the mount";
  // Where nobody collects orphans it stays as a zombie, which has no program any more.
  EXPECT_NE(access((proc + "/exe").c_str(), F_OK), 0) << "umount waits for the daemon's end";
}

TEST_F(Launch, AModuleThatTakesNoChangesMakesTheMountReadOnly) {
  const support::TempDir tree;
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  EXPECT_EQ(run({server.url(), mnt}).exit_code, 0);
  int tries = 0;
  EXPECT_TRUE(support::wait_until(
      [&] { return mkdir((mnt + "/new" + std::to_string(++tries)).c_str(), 0755) != 0 && errno == EROFS; },
      std::chrono::seconds(20)));
  EXPECT_THAT(run({"status", mnt}).out, HasSubstr("module is read only"));
  static_cast<void>(run({"umount", mnt, "--timeout=0"}));
}

TEST_F(Launch, WithRwItKeepsChangesForAModuleThatTakesNone) {
  const support::TempDir tree;
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  EXPECT_EQ(run({server.url(), mnt, "-o", "rw"}).exit_code, 0);
  EXPECT_TRUE(support::wait_until(
      [&] {
        return run({"status", mnt}).out.find("module is read only") != std::string::npos;
      },
      std::chrono::seconds(20)));
  EXPECT_EQ(mkdir((mnt + "/new").c_str(), 0755), 0) << strerror(errno);
  const CommandResult left = run({"umount", mnt, "--timeout=0"});
  EXPECT_EQ(left.exit_code, 1);
  EXPECT_THAT(left.err, HasSubstr("new"));
  EXPECT_EQ(run({server.url(), mnt, "-o", "rw"}).exit_code, 0);
  EXPECT_EQ(access((mnt + "/new").c_str(), F_OK), 0);
  static_cast<void>(run({"umount", mnt, "--timeout=0"}));
}

TEST_F(Launch, ShownOwnersAndMasksAreTheUsers) {
  const support::TempDir tree;
  support::write_file(tree / "file", "x", 0666);
  ASSERT_EQ(symlink("file", (tree / "link").c_str()), 0);
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  ASSERT_EQ(run({server.url(), mnt, "-o", "uid=12,gid=34,fmask=0137,dmask=027"}).exit_code, 0);
  EXPECT_EQ(support::run_shell("cd '" + mnt + "' && stat -c '%u %g %a %n' . file link"),
            "12 34 750 .\n12 34 640 file\n12 34 777 link\n");
  EXPECT_EQ(run({"umount", mnt}).exit_code, 0);
}

TEST_F(Launch, ADaemonThatDiedIsUnmountedByName) {
  const support::TempDir tree;
  support::write_file(tree / "file", "x");
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  ASSERT_EQ(run({server.url(), mnt}).exit_code, 0);
  const std::string status = run({"status", mnt, "--json"}).out;
  const pid_t pid = std::stoi(status.substr(status.find("\"pid\":") + 6));
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  ASSERT_TRUE(support::wait_until([&] { return run({"status", mnt}).exit_code == 1; }, seconds(10)));
  EXPECT_THAT(run({"status", mnt}).err, HasSubstr("is gone"));
  EXPECT_THAT(run({"status"}).err, HasSubstr(mnt));
  EXPECT_EQ(run({"umount", mnt}).exit_code, 0);
  EXPECT_FALSE(support::is_mounted(mnt));
  EXPECT_EQ(run({"status"}).out, "no rsyncfs mounts\n");
}

TEST_F(Launch, AStoppedDaemonDoesNotHangTheVerbs) {
  const support::TempDir tree;
  support::write_file(tree / "file", "x");
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  ASSERT_EQ(run({server.url(), mnt}).exit_code, 0);
  const std::string status = run({"status", mnt, "--json"}).out;
  const pid_t pid = std::stoi(status.substr(status.find("\"pid\":") + 6));
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  ASSERT_TRUE(support::wait_until([&] { return is_stopped(pid); }, seconds(10)));
  const CommandResult stuck = run({"status", mnt});
  EXPECT_EQ(stuck.exit_code, 1);
  EXPECT_EQ(stuck.err, "rsyncfs: the daemon for " + mnt + " does not answer\n");
  const CommandResult umount = run({"umount", mnt, "--timeout=1"});
  EXPECT_EQ(umount.exit_code, 1);
  EXPECT_THAT(umount.err, HasSubstr("does not answer"));
  EXPECT_THAT(run({server.url(), mnt}).err, HasSubstr("already mounted"));
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  // The request that was not waited for has been heard meanwhile.
  EXPECT_TRUE(support::wait_until([&] { return !support::is_mounted(mnt); }, seconds(10)))
      << support::run_shell("cat '" + (dir / "state") + "'/*/*.log; cat /proc/" + std::to_string(pid) +
                            "/task/*/stack || true");
}

// Both find no store; one of them mounts, and the other must not clear away what it uses.
TEST_F(Launch, TwoFirstMountsAtOnceLeaveTheStoreOfTheOne) {
  const support::TempDir tree;
  support::write_file(tree / "file", "x");
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  support::ProcessOptions options;
  options.environment = places();
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<std::string> words = {support::rsyncfs_binary(), server.url(), mnt};
    support::ChildProcess one(words, options);
    support::ChildProcess two(words, options);
    ASSERT_TRUE(one.wait_for(seconds(60)) && two.wait_for(seconds(60)));
    EXPECT_EQ(std::min(one.exit_code(), two.exit_code()), 0) << one.err() << two.err();
    EXPECT_EQ(std::max(one.exit_code(), two.exit_code()), 1) << one.err() << two.err();
    EXPECT_EQ(support::mounts_below(dir.path()).size(), 1U);
    EXPECT_EQ(names_in(dir / "state").size(), 1U);
    EXPECT_EQ(run({"umount", mnt}).exit_code, 0);
    support::run_shell("rm -r '" + (dir / "state") + "'");
  }
}

TEST_F(Launch, AnotherSourceMountsWhereOneWasDetachedInUse) {
  const support::TempDir tree;
  support::write_file(tree / "file", "first");
  const support::TempDir other_tree;
  support::write_file(other_tree / "file", "second");
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  const support::RsyncDaemon other(support::RsyncDaemon::serving(other_tree.path()));
  ASSERT_EQ(run({server.url(), mnt}).exit_code, 0);
  const std::string first = "/proc/" + std::to_string(daemon_pid()) + "/exe";
  UniqueFd open_file(open((mnt + "/file").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(open_file);
  ASSERT_TRUE(support::detach_mount(mnt));
  const CommandResult result = run({other.url(), mnt});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(support::read_file(mnt + "/file"), "second");
  EXPECT_EQ(access(first.c_str(), F_OK), 0);
  open_file.reset();
  EXPECT_TRUE(support::wait_until([&] { return access(first.c_str(), F_OK) != 0; }, seconds(30)));
  EXPECT_THAT(run({"status", mnt}).out, HasSubstr(other.url())) << "its socket outlives the first daemon";
  EXPECT_EQ(run({"umount", mnt}).exit_code, 0);
  EXPECT_TRUE(names_in(dir / "run").empty());
}

TEST_F(Launch, ARecordOfADeadDaemonIsNotTakenForAnothersMount) {
  const support::TempDir tree;
  support::write_file(tree / "file", "x");
  const support::RsyncDaemon server(support::RsyncDaemon::serving(tree.path()));
  const auto leave_record = [&] {
    ASSERT_EQ(run({server.url(), mnt}).exit_code, 0);
    const pid_t pid = daemon_pid();
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    const std::string program = "/proc/" + std::to_string(pid) + "/exe";
    ASSERT_TRUE(support::wait_until([&] { return access(program.c_str(), F_OK) != 0; }, seconds(10)));
    ASSERT_TRUE(support::detach_mount(mnt));
  };
  // Of another type, and known by records elsewhere only: as good as another program's.
  support::ProcessOptions elsewhere;
  elsewhere.environment = {{"RSYNCFS_STATE_DIR", dir / "state2"}, {"RSYNCFS_RUNTIME_DIR", dir / "run2"}};
  const auto run_elsewhere = [&](std::vector<std::string> words) {
    words.insert(words.begin(), support::rsyncfs_binary());
    return support::run_command(words, seconds(60), elsewhere);
  };
  leave_record();
  ASSERT_EQ(run_elsewhere({server.url(), mnt, "-o", "subtype=other"}).exit_code, 0);
  const CommandResult umount = run({"umount", mnt});
  EXPECT_EQ(umount.exit_code, 1);
  EXPECT_THAT(umount.err, HasSubstr("fuse.other"));
  EXPECT_EQ(run({"status"}).out, "no rsyncfs mounts\n");
  ASSERT_EQ(run_elsewhere({"umount", mnt}).exit_code, 0) << "it was taken away";

  leave_record();
  ASSERT_EQ(run_elsewhere({server.url(), mnt, "-o", "subtype=other"}).exit_code, 0);
  EXPECT_EQ(run({server.url(), mnt, "-o", "ro"}).err, "") << "mounted over it, as over any file system";
  EXPECT_EQ(support::mounts_below(mnt).size(), 2U);
  EXPECT_EQ(run({"umount", mnt}).exit_code, 0);
  EXPECT_EQ(run_elsewhere({"umount", mnt}).exit_code, 0);
}

}  // namespace
}  // namespace rsyncfs::cli_tests
