// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fs/mount_rig.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>

#include "tests/support/mount_table.h"
#include "tests/support/setup_failure.h"

namespace rsyncfs::testing {

using std::chrono::seconds;

MountRig::MountRig(FrontOptions chosen) : options(std::move(chosen)), mountpoint(dir.make_dir("mnt")) {
  options.mountpoint = mountpoint;
  options.fsname = "rsync://test/module,with\\odd";
  mount();
}

MountRig::~MountRig() {
  if (front) front->stop();
  front.reset();
  support::detach_mount(mountpoint);
}

void MountRig::mount() {
  FrontEvents events;
  events.ready = [this] { ++ready_calls; };
  events.ended = [this] { ++ended_calls; };
  auto mounted = Front::mount(options, *tree, notifier, std::move(events));
  if (!mounted) support::fail_setup(mounted.error().message());
  front = std::move(*mounted);
  if (!front->wait_ready(seconds(10))) support::fail_setup("the kernel did not start the session");
}

void MountRig::unmount() {
  if (const auto done = front->unmount(false); !done) support::fail_setup(done.error().message());
  if (!front->wait_ended(seconds(10))) support::fail_setup("the session did not end");
  front.reset();
}

void MountRig::settle() {
  if (!notifier.wait_idle(seconds(10))) support::fail_setup("the kernel is not told in time");
}

Child::Child(uid_t user, const std::function<int()>& body) {
  pid_ = ::fork();
  if (pid_ < 0) support::fail_setup_errno("fork");
  if (pid_ != 0) return;
  // Least of all /dev/fuse: a session ends when nobody holds it.
  ::close_range(STDERR_FILENO + 1, ~0U, 0);
  if (user != 0 && (::setgid(user) != 0 || ::setuid(user) != 0)) ::_exit(125);
  ::_exit(body());
}

Child::~Child() {
  if (status_ < 0 && pid_ > 0) {
    signal(SIGKILL);
    wait(5000);
  }
}

void Child::signal(int number) const {
  ::kill(pid_, number);
}

int Child::wait(int limit_ms) {
  for (int waited = 0; status_ < 0 && waited <= limit_ms; waited += 5) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return status_;
}

}  // namespace rsyncfs::testing
