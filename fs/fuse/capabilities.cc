// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/capabilities.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/mount_context.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/rings.h"

namespace rsyncfs {
namespace {

// Those that some libfuse turns on by itself and that we do not want: splicing never paid, data is
// invalidated explicitly, readdirplus is always right for us, privileges and locks are the kernel's.
constexpr uint64_t kUnwanted = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                               FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ASYNC_DIO |
                               FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_POSIX_LOCKS |
                               FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_IOCTL_DIR | FUSE_CAP_NO_OPEN_SUPPORT |
                               FUSE_CAP_NO_OPENDIR_SUPPORT;
constexpr uint64_t kWanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
                             FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPORT_SUPPORT |
                             FUSE_CAP_EXPLICIT_INVAL_DATA |
                             FUSE_CAP_DONT_MASK;  // a directory's default ACL takes the umask's place

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
uint64_t offered(const fuse_conn_info& connection) {
  return connection.capable_ext;
}
void agree(fuse_conn_info& connection, uint64_t wanted, uint64_t unwanted) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t flag = uint64_t{1} << bit;
    if ((unwanted & flag) != 0) fuse_unset_feature_flag(&connection, flag);
    if ((wanted & flag) != 0) fuse_set_feature_flag(&connection, flag);
  }
}
#else
uint64_t offered(const fuse_conn_info& connection) {
  return connection.capable;
}
void agree(fuse_conn_info& connection, uint64_t wanted, uint64_t unwanted) {
  connection.want = (connection.want & ~static_cast<unsigned>(unwanted)) | static_cast<unsigned>(wanted);
}
#endif

// FUSE_DEV_IOC_BACKING_OPEN is for CAP_SYS_ADMIN only.
bool may_give_files() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  return (data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) != 0;
}

}  // namespace

void choose_capabilities(fuse_conn_info& connection, MountContext& mount) {
  const uint64_t capable = offered(connection);
  // Without requests for open nobody would hear of O_TRUNC, so it must come as a change of size: the two
  // exclude each other.
  const bool no_open =
      mount.options.profile == OpenProfile::kNoOpen && (capable & FUSE_CAP_NO_OPEN_SUPPORT) != 0;
  mount.no_open.store(no_open);
  mount.no_opendir.store(!mount.options.opendir && (capable & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0);
  mount.parallel_directories.store((capable & FUSE_CAP_PARALLEL_DIROPS) != 0);
  uint64_t wanted = kWanted;
  uint64_t unwanted = kUnwanted;
  (no_open ? unwanted : wanted) |= FUSE_CAP_ATOMIC_O_TRUNC;
  (mount.options.posix_acl ? wanted : unwanted) |= FUSE_CAP_POSIX_ACL;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  (mount.options.read_only ? unwanted : wanted) |= FUSE_CAP_HANDLE_KILLPRIV_V2;
  mount.passthrough_offered.store((capable & FUSE_CAP_PASSTHROUGH) != 0);
#endif
  const bool passthrough = mount.options.profile == OpenProfile::kPassthrough &&
                           mount.passthrough_offered.load() && may_give_files();
  if (passthrough) mount.backing.agree();
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  (passthrough ? wanted : unwanted) |= FUSE_CAP_PASSTHROUGH;
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  (mount.options.rings && kRingsBuilt ? wanted : unwanted) |= FUSE_CAP_OVER_IO_URING;
  connection.request_timeout =
      static_cast<uint16_t>(std::clamp<int64_t>(mount.options.request_timeout.count(), 0, UINT16_MAX));
#endif
  agree(connection, wanted & capable, unwanted);
  connection.max_read = kMaxRequestBytes;
  connection.max_write = kMaxRequestBytes;
  connection.max_background = kMaxBackgroundRequests;
  connection.congestion_threshold = kMaxBackgroundRequests / 4 * 3;
  connection.time_gran = 1;
  mount.protocol_major.store(connection.proto_major);
  mount.protocol_minor.store(connection.proto_minor);
}

}  // namespace rsyncfs
