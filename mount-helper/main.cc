// SPDX-License-Identifier: GPL-3.0-or-later
// mount.rsyncfs: what mount(8), fstab and systemd call; by the name of umount.rsyncfs, what umount(8) calls.
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/text.h"
#include "io/base/unique_fd.h"
#include "mount-helper/helper_options.h"

extern char** environ;

namespace {

using rsyncfs::Error;
using rsyncfs::HelperCall;
using rsyncfs::Result;

constexpr size_t kMaxOutput = 4 * 1024 * 1024;

const char* own_name = "mount.rsyncfs";

void complain(const std::string& line) {
  std::fprintf(stderr, "%s: %s\n", own_name, rsyncfs::escape_control(line).c_str());
}

// The program of the same build or installation first.
std::string find_program() {
  std::array<char, 4096> own{};
  const ssize_t length = readlink("/proc/self/exe", own.data(), own.size());
  std::string beside(own.data(), length < 0 ? 0 : static_cast<size_t>(length));
  beside.erase(beside.rfind('/') == std::string::npos ? 0 : beside.rfind('/'));
  // /usr/sbin/mount.rsyncfs goes with /usr/bin/rsyncfs.
  for (const std::string& path :
       {beside + "/rsyncfs", beside + "/../bin/rsyncfs", std::string(RSYNCFS_INSTALLED),
        std::string("/usr/local/bin/rsyncfs"), std::string("/usr/bin/rsyncfs")}) {
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return "rsyncfs";
}

Result<void> enter_namespace(const std::string& given) {
  if (given.empty()) return {};
  const std::string path = given.front() == '/' ? given : "/proc/" + given + "/ns/mnt";
  const rsyncfs::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || setns(fd.get(), CLONE_NEWNS) != 0) return Error::os(errno, "mount namespace " + path);
  return {};
}

// `output`: takes what it prints, as far as it fits; null: it prints where we do.
Result<int> run(const std::string& program, std::vector<std::string> arguments,
                std::string* output = nullptr) {
  std::vector<char*> argv;
  std::string name = program;
  argv.push_back(name.data());
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::array<int, 2> ends{-1, -1};
  if (output != nullptr && pipe2(ends.data(), O_CLOEXEC) != 0) return Error::os(errno, "pipe");
  const rsyncfs::UniqueFd reading(ends[0]);
  rsyncfs::UniqueFd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (writing) posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  writing.reset();
  if (failed != 0) return Error::os(failed, "cannot run " + program);
  std::array<char, 4096> piece{};
  for (ssize_t got = 1; reading && got != 0;) {
    got = read(reading.get(), piece.data(), piece.size());
    if (got < 0 && errno != EINTR) break;
    if (got > 0 && output->size() < kMaxOutput) output->append(piece.data(), static_cast<size_t>(got));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return Error::os(errno, "waiting for " + program);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// mount(8) itself changes the flags of a mount that is there; FUSE daemons have no part in it. So a mount
// that was made read-only would only look writable.
Result<int> remount(const HelperCall& call) {
  std::string options = "remount";
  for (const std::string& option : call.options) {
    for (const char* flag : {"suid", "nosuid", "dev", "nodev", "exec", "noexec"}) {
      if (option == flag) options += "," + option;
    }
  }
  if (call.read_write == false) options += ",ro";
  if (call.read_write == true) {
    std::string status;
    const Result<int> asked = run(find_program(), {"status", call.mountpoint, "--json"}, &status);
    if (asked && rsyncfs::tells_writable(status)) {
      options += ",rw";
    } else {
      // No failure: mount(8) says "rw" of itself whenever it changes another flag.
      complain("a mount that was made read-only stays so; unmount it and mount it anew to write");
    }
  }
  return run("mount", {"-i", "-o", options, call.mountpoint});
}

int fail(const Error& error) {
  complain(error.message());
  return error.code() == rsyncfs::Errc::kUsage ? rsyncfs::kMountUsage : rsyncfs::kMountSystem;
}

int mount_it(const std::vector<std::string>& words) {
  const Result<HelperCall> call = rsyncfs::parse_helper_call(words);
  if (!call) return fail(call.error());
  if (const Result<void> entered = enter_namespace(call->mount_namespace); !entered)
    return fail(entered.error());
  if (call->fake) return 0;
  const Result<int> code =
      call->remount ? remount(*call) : run(find_program(), rsyncfs::mount_arguments(*call));
  if (!code) return fail(code.error());
  return call->remount ? *code : rsyncfs::helper_exit_code(*code);
}

int unmount_it(const std::vector<std::string>& words) {
  const Result<rsyncfs::UnmountCall> call = rsyncfs::parse_unmount_call(words);
  if (!call) return fail(call.error());
  if (const Result<void> entered = enter_namespace(call->mount_namespace); !entered)
    return fail(entered.error());
  const Result<int> code = run(find_program(), rsyncfs::unmount_arguments(*call));
  return code ? rsyncfs::helper_exit_code(*code) : fail(code.error());
}

}  // namespace

int main(int argc, char** argv) {
  // systemd starts helpers with next to no environment; ssh and fusermount3 are looked up in PATH.
  setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", /*replace=*/0);
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const std::string_view called = argc > 0 ? argv[0] : "";
  if (called.substr(called.rfind('/') + 1).starts_with("umount")) {
    own_name = "umount.rsyncfs";
    return unmount_it(words);
  }
  return mount_it(words);
}
