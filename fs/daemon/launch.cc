// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/launch.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "fs/daemon/daemon.h"
#include "io/base/log.h"
#include "io/base/text.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

void say(std::string_view line) {
  const std::string text = "rsyncfs: " + escape_control(line) + "\n";
  // Nowhere to complain when standard error is gone.
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

void open_log(const MountPlan& plan) {
  if (plan.log_file == kSystemLog) {
    log_to_system(plan.log_level);
  } else {
    log_to(plan.log_file, plan.log_level);
  }
}

// Mapped block files, sessions and clients: the usual soft limit is for programs that use select(2).
void allow_many_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The daemon's side, from the fork (or the start, in front) on. `usable` is called once, when it is.
int serve(MountPlan plan, const std::function<bool()>& usable) {
  umask(077);
  allow_many_files();
  if (chdir("/") != 0) {
    say(Error::os(errno, "cannot change to /").message());
    return 1;
  }
  open_log(plan);
  const std::vector<std::string> notes = plan.notes;
  Result<MainThread> main_thread = MainThread::create();
  if (!main_thread) {
    say(main_thread.error().message());
    return 1;
  }
  Daemon daemon(std::move(plan), std::move(main_thread.value()), ServiceNotice::from_environment());
  const Result<void> started = daemon.start();
  if (!started) {
    say(started.error().message());
    return 1;
  }
  for (const std::string& note : notes) say(note);
  for (const std::string& note : daemon.notes()) say(note);
  if (!usable()) return 1;  // ~Daemon unmounts
  daemon.run();
  return 0;
}

// The terminal and the pipes of whoever started us are not ours to keep. Last words of a failed check go to
// the log.
bool detach(const std::string& log_file) {
  if (setsid() < 0) return false;
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return false;
  const UniqueFd log(open(log_file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY));
  return dup2(null.get(), STDIN_FILENO) >= 0 && dup2(null.get(), STDOUT_FILENO) >= 0 &&
         dup2(log ? log.get() : null.get(), STDERR_FILENO) >= 0;
}

// A daemon that was started with one of them closed would get a socket or a store file by that number.
void open_standard_files() {
  for (;;) {
    const int fd = open("/dev/null", O_RDWR);
    if (fd < 0) return;
    if (fd > STDERR_FILENO) {
      close(fd);
      return;
    }
  }
}

// Until the daemon says that it is usable, or has ended.
int await(pid_t child, int pipe_fd) {
  // Typed at the terminal it reaches the daemon too, which then says what became of the mount.
  std::signal(SIGINT, SIG_IGN);
  char byte = 0;
  ssize_t got = 0;
  do {
    got = read(pipe_fd, &byte, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1) return 0;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    say("the daemon was ended by signal " + std::to_string(WTERMSIG(status)) + " before it was usable");
  }
  return 1;
}

}  // namespace

int launch(MountPlan plan) {
  // Whoever started us may ignore it, which is inherited: then nobody could tell how a child ended.
  std::signal(SIGCHLD, SIG_DFL);
  open_standard_files();
  if (plan.foreground) {
    return serve(std::move(plan), [] { return true; });
  }
  close_range(STDERR_FILENO + 1, ~0U, 0);
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    say(Error::os(errno, "pipe").message());
    return 1;
  }
  const pid_t child = fork();
  if (child < 0) {
    say(Error::os(errno, "fork").message());
    return 1;
  }
  if (child > 0) {
    close(ends[1]);
    return await(child, ends[0]);
  }
  close(ends[0]);
  const std::string log_file = plan.log_file == kSystemLog ? "/dev/null" : plan.log_file;
  const int result = serve(std::move(plan), [fd = ends[1], &log_file] {
    // If nobody reads any more, whoever asked for the mount has given it up.
    constexpr char kUsable = 'U';
    const bool told = detach(log_file) && write(fd, &kUsable, 1) == 1;
    close(fd);
    return told;
  });
  _exit(result);
}

}  // namespace rsyncfs
