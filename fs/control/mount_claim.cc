// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/mount_claim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "fs/control/local_socket.h"
#include "fs/control/mount_table.h"

namespace rsyncfs {
namespace {

// The lock's file may be another user's, who could hold it for ever.
constexpr std::chrono::milliseconds kLockLimit{2'000};
constexpr std::chrono::milliseconds kLockPause{20};

// Held while socket and record are made, looked at together, or removed; never while anybody is waited for.
Result<UniqueFd> lock_claims(const std::string& directory, int flags) {
  const std::string path = directory + "/.lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600));
  if (!fd) return Error::os(errno, path);
  const auto end = std::chrono::steady_clock::now() + kLockLimit;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() > end) return Error::os(errno, path);
    std::this_thread::sleep_for(kLockPause);
  }
  return fd;
}

Result<MountRecord> record_of(const std::string& directory, const std::string& mountpoint) {
  return read_mount_record(directory + "/" + record_name(mountpoint));
}

void remove_files(const std::string& directory, const std::string& mountpoint) {
  unlink((directory + "/" + socket_name(mountpoint)).c_str());
  unlink((directory + "/" + record_name(mountpoint)).c_str());
}

// In the daemon's own table: its mount may be in a mount namespace that is not ours. Without a device it was
// not mounted yet.
bool was_taken_away(const MountRecord& record) {
  if (record.device.empty()) return false;
  const Result<std::vector<MountedAt>> mounts = read_mount_table(record.pid);
  return mounts && std::none_of(mounts->begin(), mounts->end(), [&](const MountedAt& mounted) {
           return mounted.mountpoint == record.mountpoint && is_recorded(mounted, record);
         });
}

}  // namespace

Result<UniqueFd> claim_mount(const std::string& directory, const MountRecord& record) {
  const Result<UniqueFd> lock = lock_claims(directory, O_CREAT);
  if (!lock) return lock.error();
  const std::string path = directory + "/" + socket_name(record.mountpoint);
  Result<UniqueFd> listener = listen_local(path);
  if (!listener && listener.error().os_errno() == EBUSY) {
    const Result<MountRecord> other = record_of(directory, record.mountpoint);
    if (!other || !was_taken_away(*other)) return listener;
    remove_files(directory, record.mountpoint);
    listener = listen_local(path);
  }
  if (!listener) return listener;
  if (const Result<void> written = write_mount_record(directory, record); !written) {
    remove_files(directory, record.mountpoint);
    return written.error();
  }
  return listener;
}

Result<void> renew_claim(const std::string& directory, const MountRecord& record) {
  const Result<UniqueFd> lock = lock_claims(directory, 0);
  if (!lock) return lock.error();
  const Result<MountRecord> present = record_of(directory, record.mountpoint);
  if (!present || present->pid != record.pid) return {};
  return write_mount_record(directory, record);
}

// Without a lock file nobody has claimed anything since a cleaner was here.
void release_mount(const std::string& directory, const std::string& mountpoint, pid_t pid) {
  const Result<UniqueFd> lock = lock_claims(directory, 0);
  if (!lock && lock.error().os_errno() != ENOENT) return;
  const Result<MountRecord> present = record_of(directory, mountpoint);
  if (!present || present->pid == pid) remove_files(directory, mountpoint);
}

}  // namespace rsyncfs
