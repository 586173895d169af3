// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "tests/support/setup_failure.h"
#include "tests/support/wait.h"

extern char** environ;

namespace rsyncfs::support {
namespace {

std::vector<std::string> make_environment(const ProcessOptions& options) {
  std::vector<std::string> out;
  auto replaced = [&](std::string_view name) {
    const auto same = [&](const auto& pair) { return pair.first == name; };
    return std::any_of(options.environment.begin(), options.environment.end(), same) ||
           std::find(options.unset.begin(), options.unset.end(), name) != options.unset.end();
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!replaced(text.substr(0, text.find('=')))) out.emplace_back(text);
  }
  for (const auto& [name, value] : options.environment) out.emplace_back(name).append("=").append(value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

int memory_file(const std::string& contents) {
  const int fd = memfd_create("child", MFD_CLOEXEC);
  if (fd < 0) fail_setup_errno("memfd_create");
  if (!contents.empty() && pwrite(fd, contents.data(), contents.size(), 0) < 0)
    fail_setup_errno("pwrite memfd");
  return fd;
}

std::string memory_text(int fd) {
  std::string text;
  if (fd < 0) return text;
  const off_t size = lseek(fd, 0, SEEK_END);
  if (size <= 0) return text;
  text.resize(static_cast<size_t>(size));
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

struct Launch {
  char* const* argv;
  char* const* envp;
  const char* directory;  // null: stay
  int fds[3];
  bool own_group;
  int report_fd;  // errno of what failed goes here
};

// Between fork and exec only async-signal-safe calls are allowed: other threads of the test may hold any
// lock.
[[noreturn]] void become(const Launch& launch) {
  if (launch.own_group) setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  bool ready = launch.directory == nullptr || chdir(launch.directory) == 0;
  // Copies above 2 first, so that no source is overwritten before its turn.
  int copies[3];
  for (int i = 0; i < 3; ++i) copies[i] = fcntl(launch.fds[i], F_DUPFD_CLOEXEC, 10);
  for (int i = 0; i < 3; ++i) ready = ready && copies[i] >= 0 && dup2(copies[i], i) == i;
  if (ready) execvpe(launch.argv[0], launch.argv, launch.envp);
  const int error = errno;
  static_cast<void>(!write(launch.report_fd, &error, sizeof error));
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(std::vector<std::string> argv, ProcessOptions options)
    : own_group_(options.own_group) {
  if (argv.empty()) fail_setup("no program named");
  std::vector<std::string> environment = make_environment(options);
  const std::vector<char*> argv_pointers = pointers(argv);
  const std::vector<char*> env_pointers = pointers(environment);
  const int in_fd = options.stdin_fd >= 0 ? -1 : memory_file(options.input);
  if (options.stdout_fd < 0) out_fd_ = memory_file("");
  if (options.stderr_fd < 0) err_fd_ = memory_file("");
  // Appending keeps the captured text whole when several processes write, each with an offset of its own.
  for (int fd : {out_fd_, err_fd_}) {
    if (fd >= 0) fcntl(fd, F_SETFL, O_APPEND);
  }
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) fail_setup_errno("pipe2");
  const Launch launch{argv_pointers.data(),
                      env_pointers.data(),
                      options.working_directory.empty() ? nullptr : options.working_directory.c_str(),
                      {in_fd >= 0 ? in_fd : options.stdin_fd, out_fd_ >= 0 ? out_fd_ : options.stdout_fd,
                       err_fd_ >= 0 ? err_fd_ : options.stderr_fd},
                      options.own_group,
                      report[1]};
  pid_ = fork();
  if (pid_ == 0) become(launch);
  const int fork_error = errno;
  close(report[1]);
  if (in_fd >= 0) close(in_fd);
  int error = pid_ < 0 ? fork_error : 0;
  if (pid_ > 0) {
    const ssize_t got = read(report[0], &error, sizeof error);
    if (got != static_cast<ssize_t>(sizeof error)) error = 0;
  }
  close(report[0]);
  if (error != 0) {
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    close(out_fd_);
    close(err_fd_);
    errno = error;
    fail_setup_errno("cannot run " + argv[0]);
  }
  // Not by <sys/pidfd.h>: glibc 2.36 declares pidfd_open without C linkage.
  pid_fd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
}

ChildProcess::~ChildProcess() {
  kill9();
  close(pid_fd_);
  close(out_fd_);
  close(err_fd_);
}

bool ChildProcess::wait_for(std::chrono::milliseconds limit) {
  if (reaped_) return true;
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd ready{pid_fd_, POLLIN, 0};
    const int count = poll(&ready, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    int status = 0;
    if (waitpid(pid_, &status, 0) != pid_) return false;
    reaped_ = true;
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  }
}

std::string ChildProcess::out() const {
  return memory_text(out_fd_);
}
std::string ChildProcess::err() const {
  return memory_text(err_fd_);
}

void ChildProcess::signal(int number) const {
  if (!reaped_) kill(pid_, number);
}

void ChildProcess::signal_group(int number) const {
  // The group outlives its leader while a member of it lives, and its number is not given to a new process
  // until then.
  if (own_group_) {
    kill(-pid_, number);
  } else {
    signal(number);
  }
}

void ChildProcess::kill9() {
  if (pid_ <= 0) return;
  signal_group(SIGKILL);
  constexpr std::chrono::seconds kLimit{20};
  wait_for(kLimit);
}

CommandResult run_command(const std::vector<std::string>& argv, std::chrono::milliseconds limit,
                          const ProcessOptions& options) {
  const double begin = monotonic_seconds();
  ChildProcess child(argv, options);
  CommandResult result;
  result.timed_out = !child.wait_for(limit);
  result.exit_code = child.exit_code();
  result.seconds = monotonic_seconds() - begin;
  result.out = child.out();
  result.err = child.err();
  return result;
}

std::string run_shell(const std::string& script, std::chrono::milliseconds limit) {
  const CommandResult result = run_command({"bash", "-c", script}, limit);
  if (result.exit_code != 0) {
    fail_setup("`" + script + "` ended with " + std::to_string(result.exit_code) +
               (result.timed_out ? " (time limit)" : "") + ": " + result.err);
  }
  return result.out;
}

}  // namespace rsyncfs::support
