// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that a user can get wrong: one line that names the cause, a non-zero exit, nothing mounted,
// nothing left running.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "tests/mount/mount_rig.h"
#include "tests/support/mount_table.h"
#include "tests/support/port_lease.h"
#include "tests/support/ssh_server.h"

namespace rsyncfs::mount_tests {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Whether any process has this text in its command line.
bool process_names(const std::string& text) {
  namespace fs = std::filesystem;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    std::ifstream file(entry.path() / "cmdline");
    std::ostringstream words;
    words << file.rdbuf();
    if (words.str().find(text) != std::string::npos) return true;
  }
  return false;
}

TEST(RefusalCheck, SeesWhatIsLeftRunning) {
  const std::string text = "left-running-" + std::to_string(getpid());
  EXPECT_FALSE(process_names(text));
  const support::ChildProcess left({"bash", "-c", "sleep 1000; true", text});
  EXPECT_TRUE(wait_until([&] { return process_names(text); }, seconds(10)));
}

struct Mistake {
  std::string name;
  int exit_code;
  std::string words;  // a regular expression that the line must match: the cause
  std::string cure;   // another one: the way out
  std::function<void(ServedTree&, MountOptions&)> make;
};

void PrintTo(const Mistake& mistake, std::ostream* out) {
  *out << mistake.name;
}

DaemonOptions server_of_mistakes() {
  DaemonOptions options;
  options.modules = RsyncDaemon::serving("").modules;
  options.modules.push_back(
      {.name = "guarded", .path = "", .read_only = true, .users = {{"alice", "right"}}, .parameters = {}});
  options.modules.push_back(
      {.name = "closed", .path = "", .read_only = true, .users = {}, .parameters = {{"hosts deny", "*"}}});
  options.modules.push_back({.name = "full",
                             .path = "",
                             .read_only = true,
                             .users = {},
                             .parameters = {{"max connections", "-1"}}});
  options.modules.push_back(
      {.name = "broken", .path = "/no/such/directory", .read_only = true, .users = {}, .parameters = {}});
  options.modules.push_back(
      {.name = "upload", .path = "", .read_only = true, .users = {}, .parameters = {{"write only", "yes"}}});
  options.modules.push_back({.name = "strict",
                             .path = "",
                             .read_only = true,
                             .users = {},
                             .parameters = {{"refuse options", "links"}}});
  return options;
}

class Refusal : public ::testing::TestWithParam<Mistake> {};

TEST_P(Refusal, IsOneClearLine) {
  const Mistake& mistake = GetParam();
  ServedTree tree(server_of_mistakes());
  support::write_file(tree / "file", "x");
  MountOptions options = tree.mount_options({"timeout=5", "contimeout=3"});
  mistake.make(tree, options);
  Mount mount(options, false);
  const CommandResult run = mount.try_mount();
  EXPECT_EQ(run.exit_code, mistake.exit_code) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, ContainsRegex(mistake.words));
  EXPECT_THAT(run.err, ContainsRegex(mistake.cure));
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_LT(run.err.size(), 400U);
  EXPECT_LT(run.seconds, 12.0);
  EXPECT_FALSE(mount.mounted());
  EXPECT_TRUE(wait_until([&] { return !process_names(mount.path()); }, seconds(5)))
      << "something was left running";
}

std::string server_url(ServedTree& tree, const std::string& module, const std::string& user = "") {
  return tree.server().url(module, "", user);
}

const Mistake kMistakes[] = {
    {"UnknownHost", 1, "no-such-host\\.invalid", "DNS",
     [](ServedTree&, MountOptions& o) { o.source = "rsync://no-such-host.invalid/m"; }},
    {"NobodyListens", 1, "127\\.0\\.0\\.1.*refused", "daemon listen there.*port=",
     [](ServedTree&, MountOptions& o) {
       const support::PortLease lease;
       o.source = "rsync://127.0.0.1:" + std::to_string(lease.port()) + "/m";
     }},
    {"UnknownModule", 1, "nosuchmodule", "lists the modules",
     [](ServedTree& t, MountOptions& o) { o.source = server_url(t, "nosuchmodule"); }},
    {"NoModule", 2, "module|rsync://", "use rsync://",
     [](ServedTree& t, MountOptions& o) {
       o.source = "rsync://127.0.0.1:" + std::to_string(t.server().port());
     }},
    {"NotASource", 2, "just-a-word.*", "rsync://host/module",
     [](ServedTree&, MountOptions& o) { o.source = "just-a-word"; }},
    {"NoPassword", 1, "[Pp]assword|auth", "RSYNC_PASSWORD or password_file=",
     [](ServedTree& t, MountOptions& o) { o.source = server_url(t, "guarded", "alice"); }},
    {"WrongPassword", 1, "guarded.*|auth", "secrets file",
     [](ServedTree& t, MountOptions& o) {
       o.source = server_url(t, "guarded", "alice");
       o.environment = {{"RSYNC_PASSWORD", "wrong"}};
     }},
    {"WrongUser", 1, "guarded.*|auth", "auth users",
     [](ServedTree& t, MountOptions& o) {
       o.source = server_url(t, "guarded", "mallory");
       o.environment = {{"RSYNC_PASSWORD", "right"}};
     }},
    {"PasswordFileMissing", 1, "/no/such/password.*No such file", "chmod 600",
     [](ServedTree& t, MountOptions& o) {
       o.source = server_url(t, "guarded", "alice");
       o.options.push_back("password_file=/no/such/password");
     }},
    {"PasswordFileOpenToOthers", 1, "pass.*(other|permission|mode|access)", "chmod o-rw",
     [](ServedTree& t, MountOptions& o) {
       support::write_file(t / "pass", "right\n", 0644);
       o.source = server_url(t, "guarded", "alice");
       o.options.push_back("password_file=" + (t / "pass"));
     }},
    {"AddressRefused", 1, "access denied|refuse", "hosts allow",
     [](ServedTree& t, MountOptions& o) { o.source = server_url(t, "closed"); }},
    {"ServerFull", 1, "max connections",
     "max_sessions=", [](ServedTree& t, MountOptions& o) { o.source = server_url(t, "full"); }},
    {"ModuleWithoutDirectory", 1, "broken|chdir|chroot|directory", "module's 'path'",
     [](ServedTree& t, MountOptions& o) { o.source = server_url(t, "broken"); }},
    {"WriteOnlyModule", 1, "write.only", "write only = no",
     [](ServedTree& t, MountOptions& o) { o.source = server_url(t, "upload"); }},
    {"MissingPath", 1, "no/such/path.*No such file|no/such/path", "--list-only",
     [](ServedTree& t, MountOptions& o) { o.source = t.server().url("m", "no/such/path"); }},
    {"PathIsAFile", 1, "file.*not a directory|[Nn]ot a directory", "name the one that the file is in",
     [](ServedTree& t, MountOptions& o) { o.source = t.server().url("m", "file"); }},
    {"UnknownOption", 2, "nosuchoption", "--help",
     [](ServedTree&, MountOptions& o) { o.options.push_back("nosuchoption=1"); }},
    {"MisspeltOption", 2, "timeuot.*timeout", "did you mean 'timeout'",
     [](ServedTree&, MountOptions& o) { o.options.push_back("timeuot=1"); }},
    {"UnknownEngine", 2, "io.*uring", "one of auto, uring, threads",
     [](ServedTree&, MountOptions& o) { o.options.push_back("io=fast"); }},
    {"ProtocolTooOld", 2, "protocol.*3[02]", "from 30 to 32",
     [](ServedTree&, MountOptions& o) { o.options.push_back("protocol=29"); }},
    {"NotANumber", 2, "timeout", "a number from",
     [](ServedTree&, MountOptions& o) { o.options.push_back("timeout=soon"); }},
    {"UnknownCodec", 2, "compress.*zstd", "one of auto, zstd",
     [](ServedTree&, MountOptions& o) { o.options.push_back("compress=rar"); }},
    {"BadConflictPolicy", 2, "conflict.*mine", "copy, local, remote",
     [](ServedTree&, MountOptions& o) { o.options.push_back("conflict=mine"); }},
    {"BadMask", 2, "umask.*999", "octal",
     [](ServedTree&, MountOptions& o) { o.options.push_back("umask=999"); }},
    {"UnknownUser", 2, "uid.*nosuchuser", "user|number",
     [](ServedTree&, MountOptions& o) { o.options.push_back("uid=nosuchuser"); }},
    {"CacheTooSmall", 2, "cache_size.*1k", "at least|from",
     [](ServedTree&, MountOptions& o) { o.options.push_back("cache_size=1k"); }},
    {"ValueMissing", 2, "password_file", "value|FILE",
     [](ServedTree&, MountOptions& o) { o.options.push_back("password_file"); }},
    {"ValueTooMany", 2, "allow_other", "no value",
     [](ServedTree&, MountOptions& o) { o.options.push_back("allow_other=yes"); }},
    {"PasswordForAShell", 2, "password_file", "rsync daemons",
     [](ServedTree& t, MountOptions& o) {
       support::write_file(t / "pass", "right\n", 0600);
       o.source = "somewhere:/path";
       o.options.push_back("password_file=" + (t / "pass"));
     }},
    {"PasswordOfAnotherUser", 1, "owned by root", "chown root",
     [](ServedTree& t, MountOptions& o) {
       support::write_file(t / "pass", "right\n", 0600);
       if (geteuid() == 0) support::run_shell("chown 65534 '" + (t / "pass") + "'");
       o.source = server_url(t, "guarded", "alice");
       o.options.push_back("password_file=" + (t / "pass"));
     }},
    {"StoreThatCannotBe", 1, "/proc/no", "store",
     [](ServedTree&, MountOptions& o) { o.options.push_back("store=/proc/no/store"); }},
    {"ServerThatIsSilent", 1, "stopped answering|no answer", "timeout=|contimeout=",
     [](ServedTree& t, MountOptions& o) {
       t.server().pause();
       o.options = {"timeout=2", "contimeout=2"};
     }},
    {"RefusedOption", 1, "refuse --links", "'refuse options'",
     [](ServedTree& t, MountOptions& o) { o.source = server_url(t, "strict"); }},
    {"RemoteShellMissing", 1, "no-such-shell", "rsh= names",
     [](ServedTree&, MountOptions& o) {
       o.source = "somewhere:/path";
       o.options.push_back("rsh=/no-such-shell");
     }},
    {"RemoteShellFails", 1, "[Rr]emote shell|ssh|exit|disconnected|closed|false", "ssh somewhere true",
     [](ServedTree&, MountOptions& o) {
       o.source = "somewhere:/path";
       o.options.push_back("rsh=false");
     }},
    {"RemoteShellTalksNonsense", 1, "protocol|clean|rsync", "must print nothing",
     [](ServedTree&, MountOptions& o) {
       o.source = "somewhere:/path";
       o.options.push_back("rsh=echo Welcome to this machine");
     }},
};
INSTANTIATE_TEST_SUITE_P(All, Refusal, ::testing::ValuesIn(kMistakes),
                         [](const auto& mistake) { return mistake.param.name; });

TEST(RefusalSsh, MissingPathMissingRsyncAndDeadServer) {
  support::SshServer ssh;
  const auto attempt = [&](const std::string& path, const std::string& option, const std::string& words) {
    MountOptions options;
    options.source = ssh.source(path);
    options.options = {"rsh=" + ssh.rsh(), "timeout=5", "contimeout=3"};
    if (!option.empty()) options.options.push_back(option);
    Mount mount(options, false);
    const CommandResult run = mount.try_mount();
    EXPECT_EQ(run.exit_code, 1);
    EXPECT_THAT(run.err, ContainsRegex(words));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    EXPECT_FALSE(mount.mounted());
  };
  attempt("/no/such/path", "", "/no/such/path|No such file");
  attempt("/etc/hostname", "", "[Nn]ot a directory");
  attempt("/", "rsync_path=/no/such/rsync", "rsync");
  ssh.kill9();
  attempt("/", "", "refused|ssh|shell");
}

TEST(RefusalPeer, AServerThatIsNotRsync) {
  const support::SshServer other;
  MountOptions options;
  options.source = "rsync://127.0.0.1:" + std::to_string(other.port()) + "/m";
  options.options = {"timeout=5", "contimeout=3"};
  Mount mount(options, false);
  const CommandResult run = mount.try_mount();
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("rsync"));
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_FALSE(mount.mounted());
}

class RefusalMountpoint : public ::testing::Test {
 protected:
  CommandResult mount_at(const std::string& mountpoint) {
    return rig.command({tree.server().url(), mountpoint}, seconds(30));
  }
  void expect_refused(const std::string& mountpoint, const std::string& words) {
    const CommandResult run = mount_at(mountpoint);
    EXPECT_EQ(run.exit_code, 1) << run.err;
    EXPECT_THAT(run.err, ContainsRegex(words));
    EXPECT_THAT(run.err, HasSubstr(mountpoint));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  }
  ServedTree tree;
  TempDir dir;
  Mount rig{tree.mount_options(), false};
};

TEST_F(RefusalMountpoint, MissingOrAFile) {
  expect_refused(dir / "missing", "No such file.*make that directory first");
  support::write_file(dir / "file", "");
  expect_refused(dir / "file", "[Nn]ot a directory; make an empty one");
  EXPECT_TRUE(support::mounts_below(dir.path()).empty());
}

TEST_F(RefusalMountpoint, AlreadyMounted) {
  rig.remount();
  expect_refused(rig.path(), "already mounted");
  EXPECT_TRUE(rig.mounted()) << "the first mount is not hurt";
  EXPECT_TRUE(list_names(rig.path()).ok);
}

TEST_F(RefusalMountpoint, WithContentsIsFine) {
  support::write_file(rig / "hidden", "below the mount");
  support::write_file(tree / "served", "x");
  rig.remount();
  EXPECT_EQ(list_names(rig.path()).bytes, "served\n");
  rig.unmount();
  EXPECT_EQ(list_names(rig.path()).bytes, "hidden\n");
}

}  // namespace
}  // namespace rsyncfs::mount_tests
