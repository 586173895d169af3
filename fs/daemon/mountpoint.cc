// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/mountpoint.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>

#include "fs/control/local_socket.h"
#include "fs/control/mount_record.h"
#include "fs/control/mount_table.h"

namespace rsyncfs {
namespace {

Error refuse(const std::string& path, std::string_view why) {
  return Error(Errc::kRefused, "mountpoint " + path + ": " + std::string(why));
}

bool is_alive(pid_t pid) {
  return pid > 0 && (kill(pid, 0) == 0 || errno != ESRCH);
}

// A process that is being killed still takes connections, which end with it a moment later.
bool is_closed_soon(const UniqueFd& connection) {
  constexpr int kMomentMs = 300;
  pollfd end{connection.get(), POLLIN, 0};
  if (poll(&end, 1, kMomentMs) != 1) return false;
  char byte = 0;
  return recv(connection.get(), &byte, sizeof byte, MSG_DONTWAIT) <= 0;
}

// Its socket is the daemon's first and last thing: refused means that the process is gone. Without the
// socket, which a cleaner may have taken, its number must tell.
bool is_dead(const RecordedMount& mount) {
  constexpr int kProbeMs = 2000;
  constexpr int kProbes = 5;
  const std::string socket = mount.directory + "/" + socket_name(mount.record.mountpoint);
  for (int probe = 0; probe < kProbes; ++probe) {
    const Result<UniqueFd> daemon = connect_local(socket, kProbeMs);
    if (!daemon && daemon.error().code() == Errc::kNotFound) return !is_alive(mount.record.pid);
    if (!daemon) return daemon.error().code() == Errc::kDisconnected;
    if (!is_closed_soon(*daemon)) return false;
  }
  return false;
}

// Ok when nothing of ours is mounted there (any more).
Result<void> clear_of_ours(const std::string& mountpoint, const UserPlaces& user,
                           std::vector<std::string>& notes) {
  const std::optional<MountedAt> mounted = mounted_at(mountpoint);
  if (!mounted || !mounted->is_fuse()) return {};
  std::optional<RecordedMount> recorded;
  for (const RecordedMount& candidate : recorded_mounts(user)) {
    const MountRecord& record = candidate.record;
    if (record.mountpoint == mountpoint && is_recorded(*mounted, record)) recorded = candidate;
  }
  if (!recorded) {
    if (!mounted->is_ours()) return {};
    return refuse(mountpoint, "already a mount of rsyncfs (" + mounted->source + "), started from elsewhere");
  }
  const std::string pid = std::to_string(recorded->record.pid);
  if (!is_dead(*recorded)) {
    return refuse(mountpoint,
                  "already mounted (" + mounted->source + ", pid " + pid + "); rsyncfs umount it first");
  }
  const Result<void> detached = unmount_directly(mountpoint, /*lazy=*/true);
  if (!detached) {
    return refuse(mountpoint, "a dead mount is there (its daemon, pid " + pid +
                                  ", is gone) and cannot be taken away: " + detached.error().message());
  }
  notes.push_back("took away the dead mount that pid " + pid + " had left at " + mountpoint);
  return {};
}

Error cannot_use(const std::string& path, int error) {
  const char* way_out = error == ENOENT                     ? "; make that directory first"
                        : error == EACCES || error == EPERM ? "; it has to be a directory of yours"
                                                            : "";
  return Error(Errc::kOs, Error::os(error, "mountpoint " + path).message() + way_out).with_errno(error);
}

Result<void> check_directory(const std::string& mountpoint) {
  struct stat info {};
  if (stat(mountpoint.c_str(), &info) != 0) return cannot_use(mountpoint, errno);
  if (!S_ISDIR(info.st_mode)) return refuse(mountpoint, "not a directory; make an empty one and name that");
  // fusermount3 lets users mount only where they may write.
  const int needed = geteuid() == 0 ? X_OK : X_OK | W_OK;
  if (access(mountpoint.c_str(), needed) != 0) return cannot_use(mountpoint, errno);
  return {};
}

}  // namespace

Result<std::string> prepare_mountpoint(const std::string& path, const UserPlaces& user,
                                       std::vector<std::string>& notes) {
  const Result<std::string> named = absolute_mountpoint(path);
  if (!named) return named.error().with_context("mountpoint " + path);
  if (const Result<void> clear = clear_of_ours(*named, user, notes); !clear) return clear.error();
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(named->c_str(), nullptr), std::free);
  if (!resolved) return cannot_use(path, errno);
  const std::string real = resolved.get();
  if (real != *named) {
    if (const Result<void> clear = clear_of_ours(real, user, notes); !clear) return clear.error();
  }
  if (const Result<void> usable = check_directory(real); !usable) return usable.error();
  return real;
}

}  // namespace rsyncfs
