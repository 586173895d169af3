// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/main_thread.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

Result<MainThread> MainThread::create() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  const int blocked = pthread_sigmask(SIG_BLOCK, &set, nullptr);
  if (blocked != 0) return Error::os(blocked, "cannot block signals");
  signal(SIGPIPE, SIG_IGN);
  UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals || !wake) return Error::os(errno, "cannot make signalfd and eventfd");
  return MainThread(std::move(signals), std::move(wake));
}

void MainThread::post(Task task) {
  const std::lock_guard lock(*mutex_);
  tasks_.push_back(std::move(task));
  eventfd_write(wake_.get(), 1);
}

void MainThread::take_signals() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGHUP) {
      // There is nothing to read again, and a terminal that goes is no reason to unmount.
      log_info("SIGHUP ignored");
      continue;
    }
    log_info(number == SIGTERM ? "SIGTERM: unmounting" : "SIGINT: unmounting");
    stop_signal_ = number;
  }
}

void MainThread::run_tasks() {
  eventfd_t count = 0;
  eventfd_read(wake_.get(), &count);
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(*mutex_);
    tasks = std::exchange(tasks_, {});
  }
  for (Task& task : tasks) task();
}

bool MainThread::run_until(const std::function<bool()>& done, std::chrono::milliseconds limit,
                           bool interruptible) {
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + limit;
  for (;;) {
    if (done() || (interruptible && stop_requested())) return true;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now()).count();
    if (left <= 0) return false;
    std::array<pollfd, 2> ready{{{signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
    poll(ready.data(), ready.size(), static_cast<int>(left));
    take_signals();
    run_tasks();
  }
}

}  // namespace rsyncfs
