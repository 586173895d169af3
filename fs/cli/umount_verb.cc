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
#include "fs/control/mount_claim.h"
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

// The daemon is dead or stuck. What its record speaks of may be gone, and another file system may be mounted
// there, which is none of ours.
int unmount_what_is_left(const FoundMount& mount, bool is_gone, bool lazy) {
  const std::string path = mount.directory + "/" + record_name(mount.mountpoint);
  const Result<MountRecord> record = read_mount_record(path);
  const auto mounted = mounted_at(mount.mountpoint);
  const bool ours = mounted && (record ? is_recorded(*mounted, *record) : mounted->is_ours());
  int code = kExitDone;
  if (ours) {
    code = unmount_without_daemon(mount.mountpoint, lazy);
  } else if (mounted) {
    code = fail(mount.mountpoint + " is not a mount of rsyncfs any more: " + mounted->source + ", type " +
                mounted->type + ", is mounted there");
  }
  if (is_gone && (code == kExitDone || !ours)) {
    release_mount(mount.directory, mount.mountpoint, record ? record->pid : 0);
  }
  return code;
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
  const bool is_gone = client.error().code() == Errc::kDisconnected;
  if (!is_gone && !command.lazy) {
    return fail(client.error().message() + "; --lazy detaches the mount all the same");
  }
  return unmount_what_is_left(*mount, is_gone, command.lazy);
}

}  // namespace rsyncfs
