// SPDX-License-Identifier: GPL-3.0-or-later
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "fs/cli/daemon_call.h"
#include "fs/cli/usage.h"
#include "fs/cli/verbs.h"
#include "fs/control/mount_table.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

int fail(const std::string& line) {
  complain(line);
  return kExitFailed;
}

int busy(const std::string& mountpoint) {
  std::string users;
  for (const std::string& user : users_of_mount(mountpoint)) users += (users.empty() ? "" : ", ") + user;
  return fail(mountpoint +
              " is busy: " + (users.empty() ? "in use by a process that cannot be seen from here" : users) +
              "; --lazy detaches it all the same");
}

// The daemon is dead, or there never was one in this runtime directory.
int unmount_without_daemon(const std::string& mountpoint, bool lazy) {
  // A dead mount has nothing that could be lost, and its users can only leave.
  Result<void> done = unmount_directly(mountpoint, lazy);
  if (!done && done.error().os_errno() == EBUSY) return busy(mountpoint);
  return done ? kExitDone : fail("cannot unmount " + mountpoint + ": " + done.error().message());
}

// A process descriptor knows the daemon's end even if its number is used again.
UniqueFd open_process(pid_t pid) {
  return UniqueFd(pid > 0 ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0)) : -1);
}

int unmount_by_daemon(const FoundMount& mount, ControlClient& client, const UnmountCommand& command) {
  const UniqueFd process = open_process(client.daemon_pid());
  const int limit_ms = command.timeout_s * 1000;
  const Result<ControlAnswer> answer =
      client.call({.verb = ControlVerb::kUnmount, .lazy = command.lazy}, limit_ms);
  if (!answer) {
    if (answer.error().code() == Errc::kDisconnected && !mounted_at(mount.mountpoint)) return kExitDone;
    return fail(answer.error().message() + (command.lazy ? "" : "; --lazy detaches the mount all the same"));
  }
  if (answer->kind == ControlAnswer::Kind::kFailed) {
    return answer->failure == ControlFailure::kBusy
               ? busy(mount.mountpoint)
               : fail("cannot unmount " + mount.mountpoint + ": " + answer->reason);
  }
  if (command.lazy) return kExitDone;
  const Result<void> closed = client.wait_closed(limit_ms);
  pollfd ended{process.get(), POLLIN, 0};
  if (!closed || (process && poll(&ended, 1, limit_ms) == 0)) {
    return fail("unmounted, but the daemon has not ended within " + std::to_string(command.timeout_s) + " s");
  }
  return kExitDone;
}

}  // namespace

int run_unmount(const UnmountCommand& command) {
  const UserPlaces user = UserPlaces::of_this_process();
  Result<FoundMount> mount = find_mount(command.mountpoint, user);
  if (mount && !mount->inner.empty()) {
    return fail(command.mountpoint + " lies inside the mount " + mount->mountpoint);
  }
  if (!mount) {
    const Result<std::string> point = absolute_mountpoint(command.mountpoint);
    const auto mounted = point ? mounted_at(*point) : std::nullopt;
    if (!mounted || !mounted->is_ours()) return fail(mount.error().message());
    return unmount_without_daemon(*point, command.lazy);
  }
  Result<ControlClient> client = ControlClient::connect(*mount, kConnectLimitMs);
  if (client) return unmount_by_daemon(*mount, *client, command);
  if (client.error().code() != Errc::kDisconnected && !command.lazy) {
    return fail(client.error().message() + "; --lazy detaches the mount all the same");
  }
  int code = kExitDone;
  if (mounted_at(mount->mountpoint)) code = unmount_without_daemon(mount->mountpoint, command.lazy);
  if (code == kExitDone && client.error().code() == Errc::kDisconnected) {
    remove_mount_files(mount->directory, mount->mountpoint);
  }
  return code;
}

}  // namespace rsyncfs
