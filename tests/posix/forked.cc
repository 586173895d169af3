// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/forked.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <thread>

#include "tests/support/setup_failure.h"

namespace rsyncfs::posix_tests {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kDyingLimit(5);  // from SIGKILL to the end

[[noreturn]] void tell(int fd, const std::function<std::string()>& body) {
  int status = 0;
  std::string out;
  try {
    out = body();
  } catch (const std::exception& failure) {
    out = failure.what();
    status = 1;
  }
  for (size_t done = 0; done < out.size();) {
    const ssize_t wrote = ::write(fd, out.data() + done, out.size() - done);
    if (wrote < 0) ::_exit(1);
    done += static_cast<size_t>(wrote);
  }
  ::_exit(status);
}

// All that comes until the other end closes; false at the deadline.
bool hear(int fd, Clock::time_point deadline, std::string& out) {
  std::array<char, 65536> buffer{};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
    if (left.count() <= 0) return false;
    if (::poll(&wanted, 1, static_cast<int>(left.count())) <= 0) continue;
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) return got == 0;
    out.append(buffer.data(), static_cast<size_t>(got));
  }
}

// Whether it ended by the deadline.
bool reap(pid_t pid, Clock::time_point deadline, int& status) {
  while (::waitpid(pid, &status, WNOHANG) != pid) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace

Told run_forked(const std::function<std::string()>& body, std::chrono::milliseconds limit) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw support::SetupFailure("pipe2");
  const pid_t pid = ::fork();
  if (pid < 0) throw support::SetupFailure("fork");
  if (pid == 0) tell(ends[1], body);
  ::close(ends[1]);
  Told out;
  const bool in_time = hear(ends[0], Clock::now() + limit, out.out);
  ::close(ends[0]);
  if (!in_time) ::kill(pid, SIGKILL);
  int status = 0;
  const bool reaped = reap(pid, Clock::now() + kDyingLimit, status);
  if (!in_time) {
    out.ending = "not at its end after " + std::to_string(limit.count()) + " ms" +
                 (reaped ? "" : ", nor to be killed");
  } else if (WIFSIGNALED(status)) {
    out.ending = std::string("ended by ") + ::strsignal(WTERMSIG(status));
  } else if (!reaped || WEXITSTATUS(status) != 0) {
    out.ending = "failed: " + out.out;
  }
  if (!out.ending.empty()) out.out.clear();
  return out;
}

}  // namespace rsyncfs::posix_tests
