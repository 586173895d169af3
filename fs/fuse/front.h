// SPDX-License-Identifier: GPL-3.0-or-later
// FUSE request in, exactly one reply out: the mount, its worker threads, and what the kernel is told.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/fuse/notifier.h"
#include "fs/fuse/open_profile.h"
#include "fs/fuse/watched_nodes.h"
#include "fs/tree/tree.h"
#include "io/base/latency_histogram.h"
#include "io/base/result.h"
#include "io/base/unique_function.h"

namespace rsyncfs {

struct FrontOptions {
  std::string mountpoint;
  std::string fsname;  // what df and findmnt show as SOURCE; must equal the fstab source
  bool allow_other = false;
  bool read_only = true;  // the "ro" mount flag, and every change is refused with EROFS
  bool suid = false;      // honour setuid bits ("suid"); only root can
  bool dev = false;       // honour device files ("dev"); only root can
  // Further options for mount(8)/fusermount3, one each: "noexec", "auto_unmount", "nonempty", "context=..."
  // ...
  std::vector<std::string> mount_options;
  OpenProfile profile = OpenProfile::kNoOpen;
  unsigned workers = 6;  // threads that take requests; 1..kMaxFrontWorkers
  bool rings =
      false;  // requests come by io_uring, where kernel and libfuse can; it is said where they cannot
  bool posix_acl = true;                       // the kernel checks ACLs, as it does on a local file system
  std::chrono::seconds cache_timeout{86'400};  // names and attributes; made safe by the Notifier
  // The kernel gives the whole mount up when a request is not answered for so long (Linux 6.15); 0: never.
  std::chrono::seconds request_timeout{0};
  unsigned read_ahead_kib = 1024;  // per mount, set as root after mounting, best effort; 0 = leave
  // Inodes whose watchers are told of what the source changes; must outlive the Front. Null: nobody is told,
  // nor is on a read-only mount, where the kernel lets nothing be done.
  const WatchedNodes* watched = nullptr;
  bool opendir = false;  // each opening of a directory is asked for, as by kernels before 5.1
  bool debug = false;    // every request in the log
};
constexpr unsigned kMaxFrontWorkers = 64;
// A larger file that may be written is not read by the kernel itself: the first write to one that is being
// read so copies it.
constexpr uint64_t kMaxLentWritableBytes = uint64_t{1} << 30;

enum class FrontOp : uint8_t {
  kLookup,
  kForget,
  kGetattr,
  kReadlink,
  kOpen,
  kRead,
  kFlush,
  kRelease,
  kOpendir,
  kReaddir,
  kReaddirplus,
  kReleasedir,
  kStatfs,
  kGetxattr,
  kListxattr,
  kLseek,
  kMknod,
  kMkdir,
  kSymlink,
  kCreate,
  kTmpfile,
  kLink,
  kUnlink,
  kRmdir,
  kRename,
  kSetattr,
  kSetxattr,
  kRemovexattr,
  kWrite,
  kFallocate,
  kCopyFileRange,
  kFsync,
  kRefused,
  kInterrupt,
  kCount
};
std::string_view front_op_name(FrontOp op);  // "lookup", ...; kFsync: of directories too; kRefused: any
                                             // modification of a read-only mount

// A snapshot, for status.
struct FrontStatistics {
  std::array<uint64_t, static_cast<size_t>(FrontOp::kCount)> requests{};
  uint64_t errors = 0;  // replies that carried an errno other than ENOENT, ENODATA, ENOSYS
  std::vector<std::pair<int, uint64_t>> errors_by_number;  // the same by errno, those that happened
  std::array<LatencyCounts, static_cast<size_t>(FrontOp::kCount)> latencies{};
  uint64_t waiting = 0;       // requests parked now
  uint64_t parked_total = 0;  // requests that had to wait for the source
  uint64_t known_nodes = 0;   // inodes the kernel holds
  uint64_t lent_files = 0;    // given to the kernel so far, to be read by itself
  NotifierStatistics notifier;
};

// "libfuse 3.14.0".
std::string fuse_library_version();
// "user_allow_other" stands in this file (fuse.conf(5)).
bool allows_others(const std::string& fuse_conf);

// The callbacks run on threads of the Front; they must not destroy it.
struct FrontEvents {
  // Once, when the kernel has been answered FUSE_INIT: the mount is usable.
  UniqueFunction<void()> ready;
  // Once, when no more requests will come: unmounted by somebody, or stop(). The Front is then to be
  // destroyed.
  UniqueFunction<void()> ended;
};

// Threads: mount() and the destructor on one thread; everything else from any.
class Front {
 public:
  // Mounts and starts the workers; replies come at once. All must outlive the Front. Errors name the cause in
  // one line: "mountpoint /x: No such file or directory", "/dev/fuse: Permission denied", "allow_other: needs
  // user_allow_other in /etc/fuse.conf". Nothing is mounted then.
  static Result<std::unique_ptr<Front>> mount(FrontOptions options, Tree& tree, Notifier& notifier,
                                              FrontEvents events);
  // stop()s, takes the mount away if it is still there (lazily), and waits until each parked request was
  // answered.
  virtual ~Front() = default;

  virtual bool ready() const = 0;
  // True when FUSE_INIT was answered within the limit.
  virtual bool wait_ready(std::chrono::milliseconds limit) = 0;
  virtual bool ended() const = 0;
  virtual bool wait_ended(std::chrono::milliseconds limit) = 0;

  // Takes the mount away as umount(8) does. kOs with EBUSY when files are open or somebody is inside; `lazy`
  // detaches it at once and the session ends with the last user. Blocks while the kernel does it. ended()
  // follows.
  virtual Result<void> unmount(bool lazy) = 0;
  // From now on every change fails with EROFS, as on a read-only mount. What was written into mapped files
  // before is still taken.
  virtual void refuse_changes() = 0;
  // Ends the session now, whoever uses it: parked requests are cancelled, users of the mount get ENOTCONN.
  virtual void stop() = 0;

  virtual FrontStatistics statistics() const = 0;
  virtual const std::string& mountpoint() const = 0;  // absolute
  virtual std::string description() const = 0;  // "fuse 7.45, libfuse 3.14.0, profile no_open, 6 workers"
};

}  // namespace rsyncfs
