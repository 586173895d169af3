// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs::support {

struct MountOptions {
  std::string source;
  std::vector<std::string> options;      // each one `-o`; io= is added from $RSYNCFS_TEST_IO unless given
  Environment environment;               // e.g. RSYNC_PASSWORD
  std::vector<std::string> prefix;       // a command that runs the program, e.g. setpriv --reuid=...
  uid_t owner = static_cast<uid_t>(-1);  // who owns the private directories; -1: the running user
};

// The `rsyncfs` program under test: $RSYNCFS_BINARY, or the one of this build.
std::string rsyncfs_binary();

// Not ended: where nobody collects orphans, one that has stays as a zombie.
bool alive(pid_t pid);

// A mount made by the real program in background mode, with private state, runtime and mount point
// directories. The destructor unmounts it, if need be by force, and kills its daemon.
class Mount {
 public:
  // Mounts; throws SetupFailure with what the program printed.
  explicit Mount(MountOptions options);
  // With `mount_now` false nothing is mounted yet: call remount(), or try_mount() when failure is expected.
  Mount(MountOptions options, bool mount_now);
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  const std::string& path() const { return mountpoint_; }
  std::string operator/(const std::string& name) const { return mountpoint_ + "/" + name; }
  const std::string& state_dir() const { return state_dir_; }
  bool mounted() const;

  CommandResult try_mount();
  // Any other command line of the program in the same private directories.
  CommandResult command(const std::vector<std::string>& arguments,
                        std::chrono::milliseconds limit = std::chrono::seconds(60)) const;
  // `rsyncfs umount`; throws SetupFailure if it fails or leaves the mount or the daemon behind.
  void unmount();
  void remount();
  // For the next remount().
  MountOptions& options() { return options_; }

  // `rsyncfs status MOUNTPOINT --json`.
  std::string status_json() const;
  // A number of it by its JSON pointer, e.g. "/daemon/pid"; throws SetupFailure if there is none.
  int64_t status_number(const std::string& pointer) const;
  std::string status_text(const std::string& pointer) const;
  pid_t daemon_pid() const;
  int64_t rss_kib() const;
  // SIGKILL to the daemon, then takes the dead mount away.
  void kill9();
  // The newest `tail` bytes of the daemon's log, for failure messages.
  std::string log(size_t tail = 4000) const;

  // Those that exist now, for who reports a failure. Only for the thread that makes them.
  static const std::vector<const Mount*>& live();

  // For a command line of one's own in the same private directories.
  ProcessOptions process_options() const;

 private:
  MountOptions options_;
  TempDir dir_;
  std::string state_dir_;
  std::string runtime_dir_;
  std::string mountpoint_;
  pid_t pid_ = -1;  // of the daemon, asked once per mount
};

}  // namespace rsyncfs::support
