// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rsyncfs::support {

using Environment = std::vector<std::pair<std::string, std::string>>;

struct ProcessOptions {
  Environment environment;         // set on top of our own environment
  std::vector<std::string> unset;  // names removed from it
  std::string working_directory;   // empty: ours
  std::string input;               // what standard input holds (a pipe it is not)
  int stdin_fd = -1;               // borrowed; -1: `input`
  int stdout_fd = -1;              // borrowed; -1: captured
  int stderr_fd = -1;              // borrowed; -1: captured
  bool own_group = true;  // a process group of its own, so that its children can be signalled with it
};

// A child process. Standard output and error are captured in memory files, so a child, and whatever it leaves
// in the background, never blocks on us. It is killed (SIGKILL, its whole group) by the destructor, and by
// the kernel if the thread that started it ends. Not thread-safe.
class ChildProcess {
 public:
  // Throws SetupFailure if the program cannot be run.
  explicit ChildProcess(std::vector<std::string> argv, ProcessOptions options = {});
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // True when it has ended within the limit (and is reaped); exit_code() then tells how.
  bool wait_for(std::chrono::milliseconds limit);
  bool running() { return !wait_for(std::chrono::milliseconds(0)); }
  // Exit status, or 128 + signal number; -1 while it runs.
  int exit_code() const { return exit_code_; }
  // What was written so far.
  std::string out() const;
  std::string err() const;

  void signal(int number) const;
  // To every process of its group, the child included.
  void signal_group(int number) const;
  // SIGKILL to the group, then reaps the child.
  void kill9();

 private:
  pid_t pid_ = -1;
  int pid_fd_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  bool own_group_ = true;
  int exit_code_ = -1;
  bool reaped_ = false;
};

struct CommandResult {
  int exit_code = -1;  // 128 + signal number if a signal ended it, -1 if it was killed at the time limit
  bool timed_out = false;
  double seconds = 0;
  std::string out;
  std::string err;
};

// Runs a program to its end, or kills it at the limit. argv[0] is looked up in PATH.
CommandResult run_command(const std::vector<std::string>& argv, std::chrono::milliseconds limit,
                          const ProcessOptions& options = {});
// The same through `bash -c`; returns what it printed on standard output and throws SetupFailure unless it
// exits 0.
std::string run_shell(const std::string& script, std::chrono::milliseconds limit = std::chrono::minutes(5));

}  // namespace rsyncfs::support
