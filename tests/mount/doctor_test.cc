// SPDX-License-Identifier: GPL-3.0-or-later
// The doctor with each defect provoked: what it says of it, and its exit code.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <ctime>
#include <filesystem>
#include <thread>

#include "tests/mount/mount_rig.h"
#include "tests/mount/writable_mount.h"
#include "tests/support/port_lease.h"
#include "tests/support/small_disk.h"
#include "tests/support/ssh_server.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class Doctor : public ::testing::Test {
 protected:
  Doctor() { support::write_file(tree_ / "file", "x"); }
  DaemonOptions serving(bool read_only = false) const {
    DaemonOptions options = RsyncDaemon::serving(tree_.path());
    options.modules[0].read_only = read_only;
    return options;
  }
  CommandResult doctor(std::vector<std::string> arguments, support::Environment environment = {},
                       std::vector<std::string> prefix = {}) {
    arguments.insert(arguments.begin(), {support::rsyncfs_binary(), "doctor"});
    arguments.insert(arguments.begin(), prefix.begin(), prefix.end());
    support::ProcessOptions options;
    options.environment = std::move(environment);
    options.environment.emplace_back("RSYNCFS_STATE_DIR", state_.path());
    options.environment.emplace_back("RSYNCFS_RUNTIME_DIR", runtime_.path());
    options.unset = {"RSYNC_PASSWORD"};
    return support::run_command(arguments, seconds(120), options);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(tree_.path()))
      out.push_back(entry.path().filename());
    return out;
  }

  TempDir tree_;
  TempDir state_;
  TempDir runtime_;
};

#define EXPECT_FINDING(run, severity, text) EXPECT_THAT((run).out, ContainsRegex("(^|\n)" severity " +" text))

TEST_F(Doctor, FindsNothingWrongWithAHealthySource) {
  RsyncDaemon server(serving());
  struct stat before {};
  ASSERT_EQ(stat(tree_.path().c_str(), &before), 0);
  const CommandResult run = doctor({server.url()});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_FINDING(run, "ok", "source: .*can be reached and listed");
  EXPECT_FINDING(run, "ok", "protocol: protocol 3[12]");
  EXPECT_FINDING(run, "ok", "writing: a file was made at the source and removed again");
  EXPECT_FINDING(run, "ok", "times: fractions of seconds are kept");
  EXPECT_FINDING(run, "ok", "clock:");
  EXPECT_FINDING(run, "ok", "fuse: /dev/fuse");
  EXPECT_THAT(run.out, HasSubstr("no problem found"));
  EXPECT_THAT(run.out, Not(HasSubstr("\033["))) << "colour is for terminals";
  // Nothing is left behind, not even a new time of the directory.
  EXPECT_THAT(names(), ::testing::ElementsAre("file"));
  struct stat after {};
  ASSERT_EQ(stat(tree_.path().c_str(), &after), 0);
  EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
  EXPECT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

TEST_F(Doctor, OfThisMachineAloneAsksNoSource) {
  const CommandResult run = doctor({});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_FINDING(run, "ok", "libfuse: libfuse 3");
  EXPECT_FINDING(run, "(ok|note)", "io_uring:");
  EXPECT_THAT(run.out, Not(HasSubstr("source:")));
}

TEST_F(Doctor, DoesNotWriteWhereRoIsAskedFor) {
  RsyncDaemon server(serving());
  const CommandResult run = doctor({server.url(), "-o", "ro"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_FINDING(run, "note", "writing: not tried");
  EXPECT_THAT(server.log(), Not(HasSubstr("rsyncfs-doctor")));
}

// The server sees which address asks: a mount with that option would come from there.
TEST_F(Doctor, SpeaksToTheSourceAsAMountWithTheseOptionsWould) {
  DaemonOptions options = serving();
  options.modules[0].parameters = {{"hosts allow", "127.0.0.2"}, {"hosts deny", "*"}};
  RsyncDaemon server(options);
  const CommandResult refused = doctor({server.url(), "-o", "address=127.0.0.1"});
  EXPECT_EQ(refused.exit_code, 1) << refused.out;
  const CommandResult run = doctor({server.url(), "-o", "address=127.0.0.2"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_FINDING(run, "ok", "source: .*can be reached and listed");
}

TEST_F(Doctor, TellsOfAReadOnlyModule) {
  RsyncDaemon server(serving(/*read_only=*/true));
  const CommandResult run = doctor({server.url()});
  EXPECT_EQ(run.exit_code, 1) << run.out;
  EXPECT_FINDING(run, "problem", "writing: .*module is read only\n +-> set \"read only = false\"");
}

TEST_F(Doctor, TellsOfADirectoryThatCannotBeWrittenTo) {
  DaemonOptions options = serving();
  options.modules[0].parameters = {{"uid", "65534"}, {"gid", "65534"}, {"use chroot", "no"}};
  ASSERT_EQ(chmod(tree_.path().c_str(), 0755), 0);
  RsyncDaemon server(std::move(options));
  const CommandResult run = doctor({server.url()});
  EXPECT_EQ(run.exit_code, 1) << run.out;
  EXPECT_FINDING(
      run, "problem",
      "writing: a file could not be made .*Permission denied[^\n]*\n +-> let the user of the server write");
  EXPECT_THAT(names(), ::testing::ElementsAre("file"));
}

TEST_F(Doctor, TellsOfAFullSource) {
  const std::string place = tree_ / "small";
  support::make_dirs(place);
  const support::SmallDisk disk(place, "1m", 100);
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount a small disk";
  ASSERT_EQ(chmod(place.c_str(), 0777), 0);
  disk.fill_blocks(place + "/filler", 0);
  RsyncDaemon server([&] {
    DaemonOptions options = RsyncDaemon::serving(place);
    options.modules[0].read_only = false;
    return options;
  }());
  const CommandResult run = doctor({server.url()});
  EXPECT_EQ(run.exit_code, 1) << run.out;
  EXPECT_FINDING(run, "problem", "writing: .*No space left on device[^\n]*\n +-> make room on the source");
}

TEST_F(Doctor, TellsOfRefusedOptions) {
  DaemonOptions options = serving();
  options.modules[0].parameters = {{"refuse options", "delete xattrs"}};
  RsyncDaemon server(std::move(options));
  const CommandResult run = doctor({server.url()});
  EXPECT_FINDING(run, "warning", "refused options: the server refuses delete: nothing can be removed");
  EXPECT_FINDING(run, "note", "refused options: the server refuses xattrs");
}

TEST_F(Doctor, TellsOfAWrongPasswordAndOfNone) {
  DaemonOptions options = serving();
  options.modules[0].users = {{"user", "right"}};
  RsyncDaemon server(std::move(options));
  const std::string file = state_ / "password";
  support::write_file(file, "wrong\n");
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  const CommandResult wrong = doctor({server.url("m", "", "user"), "-o", "password_file=" + file});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_FINDING(wrong, "problem", "source: .*auth failed[^\n]*\n +-> check user");
  EXPECT_FINDING(wrong, "ok", "password file:");
  EXPECT_EQ(doctor({server.url("m", "", "user")}).exit_code, 1);
  const CommandResult right = doctor({server.url("m", "", "user")}, {{"RSYNC_PASSWORD", "right"}});
  EXPECT_EQ(right.exit_code, 0) << right.out;
  support::write_file(file, "right\n");
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  EXPECT_EQ(doctor({server.url("m", "", "user"), "-o", "password_file=" + file}).exit_code, 0);
}

TEST_F(Doctor, TellsOfALoosePasswordFile) {
  const std::string file = state_ / "password";
  support::write_file(file, "secret\n");
  ASSERT_EQ(chmod(file.c_str(), 0644), 0);
  const CommandResult open = doctor({"-o", "password_file=" + file});
  EXPECT_EQ(open.exit_code, 1);
  EXPECT_FINDING(open, "problem", "password file: .*must not be accessible to others[^\n]*\n +-> chmod 600");
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  const CommandResult group = doctor({"-o", "password_file=" + file});
  EXPECT_EQ(group.exit_code, 0);
  EXPECT_FINDING(group, "warning", "password file: .*open to its group");
  EXPECT_EQ(doctor({"-o", "password_file=" + (state_ / "none")}).exit_code, 1);
}

TEST_F(Doctor, TellsOfAClosedPortAnUnknownModuleAndNoServer) {
  const support::PortLease lease;
  const std::string closed = "rsync://127.0.0.1:" + std::to_string(lease.port()) + "/m";
  const CommandResult refused = doctor({closed});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_FINDING(refused, "problem", "source: .*Connection refused[^\n]*\n +-> start the server");
  RsyncDaemon server(serving());
  const CommandResult unknown = doctor({server.url("none")});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_FINDING(unknown, "problem", "source: .*Unknown module[^\n]*\n +-> rsync rsync://HOST/ lists");
  const support::SshServer ssh;
  const CommandResult other =
      doctor({"rsync://127.0.0.1:" + std::to_string(ssh.port()) + "/m", "-o", "timeout=5,contimeout=2"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_FINDING(other, "problem", "source: ");
}

TEST_F(Doctor, TellsOfASourceThatIsNotThere) {
  RsyncDaemon server(serving());
  EXPECT_EQ(doctor({server.url("m", "none")}).exit_code, 1);
  const CommandResult file = doctor({server.url("m", "file")});
  EXPECT_EQ(file.exit_code, 1);
  EXPECT_FINDING(file, "problem", "source: ");
}

TEST_F(Doctor, TellsOfAnOldProtocol) {
  RsyncDaemon server(serving());
  const CommandResult run = doctor({server.url(), "-o", "protocol=30"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_FINDING(run, "warning", "protocol: protocol 30[^\n]*whole seconds only\n +-> leave out protocol=");
  EXPECT_FINDING(run, "note", "times: the source keeps whole seconds");
}

TEST_F(Doctor, TellsOfNoMoreConnections) {
  DaemonOptions options = serving();
  options.modules[0].parameters = {{"max connections", "-1"}};  // rsyncd.conf(5): none at all
  RsyncDaemon server(std::move(options));
  const CommandResult run = doctor({server.url(), "-o", "timeout=4,contimeout=2"});
  EXPECT_EQ(run.exit_code, 1) << run.out;
  EXPECT_FINDING(run, "problem", "source: [^\n]*(max connections|refus|disabled)[^\n]*\n +-> ");
}

TEST_F(Doctor, TellsOfTheStateDirectory) {
  ASSERT_EQ(chmod(state_.path().c_str(), 0755), 0);
  const CommandResult open = doctor({});
  EXPECT_EQ(open.exit_code, 0);
  EXPECT_FINDING(open, "warning", "state directory: .*open to others \\(mode 755\\)\n +-> chmod 700");
  ASSERT_EQ(chmod(state_.path().c_str(), 0700), 0);
  const support::SmallDisk disk(state_.path(), "1m", 20);
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount a small disk";
  ASSERT_EQ(chmod(state_.path().c_str(), 0700), 0);
  const CommandResult full = doctor({});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_FINDING(full, "problem", "disk: the disk is full: [^\n]*\n +-> make room there");
}

TEST_F(Doctor, TellsOfAFileSystemWithoutInodes) {
  const support::SmallDisk disk(state_.path(), "1g", 20);
  if (!disk.mounted()) GTEST_SKIP() << "only root can mount a small disk";
  ASSERT_EQ(chmod(state_.path().c_str(), 0700), 0);
  const CommandResult run = doctor({});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_FINDING(run, "problem", "disk: the file system has no inodes left");
}

TEST_F(Doctor, TellsOfTheRemoteShell) {
  const CommandResult none = doctor({"host:path", "-o", "rsh=/none/ssh,timeout=2,contimeout=2"});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_FINDING(none, "problem", "remote shell: /none/ssh is not in PATH");
  support::make_dirs(runtime_ / "home/.ssh");
  const std::string key = runtime_ / "home/.ssh/id_ed25519";
  support::write_file(key, "no key");
  ASSERT_EQ(chmod(key.c_str(), 0644), 0);
  const support::SshServer ssh;
  const CommandResult loose =
      doctor({ssh.source(tree_.path()), "-o", "rsh=" + ssh.rsh()}, {{"HOME", runtime_ / "home"}});
  EXPECT_EQ(loose.exit_code, 1) << loose.out;
  EXPECT_FINDING(loose, "problem", "ssh: ssh refuses the key .*\n +-> chmod 600");
  EXPECT_FINDING(loose, "ok", "source: .*can be reached and listed");
  EXPECT_FINDING(loose, "ok", "writing: a file was made");
}

TEST_F(Doctor, TellsOfARestrictedServer) {
  const std::string script = runtime_ / "shell";
  const auto restricted = [&](const std::string& options) {
    support::write_file(
        script,
        "#!/bin/sh\nif [ \"$1\" = -l ]; then shift 2; fi\nshift\nSSH_ORIGINAL_COMMAND=\"$*\" exec rrsync " +
            options + " '" + tree_.path() + "'\n");
    EXPECT_EQ(chmod(script.c_str(), 0755), 0);
    return doctor({"host:", "-o", "rsh=" + script});
  };
  const CommandResult writable = restricted("-no-lock");
  EXPECT_EQ(writable.exit_code, 0) << writable.out;
  EXPECT_FINDING(writable, "ok", "writing: a file was made");
  EXPECT_THAT(names(), ::testing::ElementsAre("file"));
  const CommandResult read_only = restricted("-ro");
  EXPECT_EQ(read_only.exit_code, 1) << read_only.out;
  EXPECT_FINDING(read_only, "note", "rrsync: the server is restricted");
  EXPECT_FINDING(read_only, "problem", "writing: .*read-only server[^\n]*\n +-> the key runs rrsync");
}

// Nothing here may set the clock; what tells of it is the time of the directory, which the server sets by it.
TEST_F(Doctor, TellsOfAClockThatIsAhead) {
  RsyncDaemon server(serving());
  std::atomic<bool> over{false};
  std::thread clock([&] {
    constexpr int64_t kAhead = 3'600;
    while (!over) {
      const timespec later{time(nullptr) + kAhead, 0};
      const std::array<timespec, 2> times{later, later};
      utimensat(AT_FDCWD, tree_.path().c_str(), times.data(), 0);
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  const CommandResult run = doctor({server.url()});
  over = true;
  clock.join();
  EXPECT_FINDING(run, "warning",
                 "clock: the source's clock is 3[56][0-9][0-9] s ahead of ours\n +-> set both by NTP");
}

TEST_F(Doctor, TellsOfARestrictedUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const CommandResult run =
      doctor({"--json"}, {}, {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  EXPECT_EQ(run.exit_code, 1) << run.out;
  EXPECT_THAT(run.out, HasSubstr("\"topic\":\"state directory\""));
  EXPECT_THAT(run.out, HasSubstr("cannot be written to: Permission denied"));
}

TEST_F(Doctor, ExaminesAMount) {
  WritableMount work;
  ASSERT_EQ(work.mount_again(), "");
  const CommandResult healthy = work.mount().command({"doctor", work.path()});
  EXPECT_EQ(healthy.exit_code, 0) << healthy.out;
  EXPECT_FINDING(healthy, "ok", "link: connected");
  EXPECT_FINDING(healthy, "ok", "sending: all changes are on the source");
  work.tree().server().stop();
  support::write_file(work / "new", "x");
  ASSERT_TRUE(wait_until(
      [&] { return work.mount().status_text("/link/text").find("Connection refused") != std::string::npos; },
      seconds(30)));
  const CommandResult down = work.mount().command({"doctor", work.path()});
  EXPECT_EQ(down.exit_code, 1);
  EXPECT_FINDING(down, "problem",
                 "link: the source cannot be reached[^\n]*Connection refused[^\n]*\n +-> start the server");
  EXPECT_FINDING(down, "note", "sending: [0-9]+ changes? ");
  work.tree().server().start();
}

TEST_F(Doctor, OfWhatIsNoMountSaysSo) {
  const CommandResult run = doctor({state_.path()});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_FINDING(run, "problem", "mount: no rsyncfs mount at ");
}

TEST_F(Doctor, WrongUseEndsWithTwo) {
  EXPECT_EQ(doctor({"a", "b"}).exit_code, 2);
  EXPECT_EQ(doctor({"rsync://"}).exit_code, 2);
  EXPECT_EQ(doctor({"-o", "no_such_option"}).exit_code, 2);
  EXPECT_EQ(doctor({"--with-names"}).exit_code, 2);
  EXPECT_EQ(doctor({"--help"}).exit_code, 0);
}

TEST_F(Doctor, IsColouredOnATerminal) {
  const std::string line = "'" + support::rsyncfs_binary() + "' doctor";
  const CommandResult run = support::run_command({"script", "-qec", line, "/dev/null"}, seconds(60));
  EXPECT_THAT(run.out, HasSubstr("\033["));
}

}  // namespace
}  // namespace rsyncfs::mount_tests
