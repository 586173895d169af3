// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/rings.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/libfuse_parts.h"
#include "fs/fuse/request.h"

namespace rsyncfs {
namespace {

// Of kMaxRequestBytes each, and of the kernel's pinned memory.
constexpr long kBuffers = 64;
constexpr long kLeastBuffersOfProcessor = 8;
constexpr long kMostBuffersOfProcessor = 32;

template <bool kReadOnly>
fuse_lowlevel_ops& guarded() {
  static fuse_lowlevel_ops operations{};
  return operations;
}

// libfuse tells its threads to end, and cancels them besides, which operations are not made for.
void refuse_cancellation() {
  thread_local const int refused = ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  static_cast<void>(refused);
}

template <bool kReadOnly, auto Operation, class... Arguments>
void op_unless_closed(fuse_req_t request, Arguments... arguments) {
  refuse_cancellation();
  const auto operation = guarded<kReadOnly>().*Operation;
  RSYNCFS_CHECK(operation != nullptr);
  MountContext& mount = mount_of(request);
  // Before the look at `closed`, so whoever set it waits for us.
  mount.replies.opened();
  if (mount.closed.load()) {
    fuse_reply_err(request, ENOTCONN);
  } else {
    operation(request, arguments...);
  }
  mount.replies.closed();
}

template <bool kReadOnly, auto... Operations>
void guard_each(fuse_lowlevel_ops& ops) {
  guarded<kReadOnly>() = ops;
  const auto guard = [&]<auto Operation>() {
    if (ops.*Operation != nullptr) ops.*Operation = op_unless_closed<kReadOnly, Operation>;
  };
  (guard.template operator()<Operations>(), ...);
}

// All that is answered and comes by a ring.
template <bool kReadOnly>
void guard_all(fuse_lowlevel_ops& ops) {
  using Ops = fuse_lowlevel_ops;
  guard_each<kReadOnly, &Ops::lookup, &Ops::getattr, &Ops::setattr, &Ops::readlink, &Ops::mknod, &Ops::mkdir,
             &Ops::unlink, &Ops::rmdir, &Ops::symlink, &Ops::rename, &Ops::link, &Ops::open, &Ops::read,
             &Ops::write, &Ops::flush, &Ops::release, &Ops::fsync, &Ops::opendir, &Ops::readdir,
             &Ops::releasedir, &Ops::fsyncdir, &Ops::statfs, &Ops::setxattr, &Ops::getxattr, &Ops::listxattr,
             &Ops::removexattr, &Ops::create, &Ops::fallocate, &Ops::readdirplus, &Ops::copy_file_range,
             &Ops::lseek, &Ops::tmpfile>(ops);
}

}  // namespace

const bool kRingsBuilt = true;

std::string ring_mount_options() {
  const long processors = std::max(1L, ::sysconf(_SC_NPROCESSORS_CONF));
  const long depth = std::clamp(kBuffers / processors, kLeastBuffersOfProcessor, kMostBuffersOfProcessor);
  return ",io_uring,io_uring_q_depth=" + std::to_string(depth);
}

uint64_t ring_number(fuse_req* request) {
  return fuse_req_is_uring(request) ? rsyncfs_fuse_number(request) : 0;
}

bool have_ring_threads(const fuse_session* session) {
  return rsyncfs_fuse_has_rings(session) != 0;
}

void stop_ring_threads(fuse_session* session) {
  rsyncfs_fuse_stop_rings(session);
}

void guard_rings(fuse_lowlevel_ops& ops, bool read_only) {
  read_only ? guard_all<true>(ops) : guard_all<false>(ops);
}

}  // namespace rsyncfs
