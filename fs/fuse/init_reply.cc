// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/init_reply.h"

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fs/fuse/mount_context.h"

namespace rsyncfs {
namespace {

// struct fuse_init_out grew over time; the flags are in its oldest part.
constexpr size_t kFlagsOffset = offsetof(fuse_init_out, flags);
constexpr size_t kOldestInitBytes = 24;
constexpr unsigned kKillprivMinor = 33;

}  // namespace

void amend_init_reply(MountContext& mount, std::span<iovec> reply) {
  if (mount.init_answered.load(std::memory_order_relaxed) || reply.size() != 2) return;
  fuse_out_header header{};
  if (reply[0].iov_len != sizeof header || reply[1].iov_len < kOldestInitBytes) return;
  std::memcpy(&header, reply[0].iov_base, sizeof header);
  // Notifications have no number.
  if (header.unique == 0 || header.error != 0 || !mount.initialized.load()) return;
  mount.init_answered.store(true);
  std::byte* at = static_cast<std::byte*>(reply[1].iov_base) + kFlagsOffset;
  uint32_t flags = 0;
  std::memcpy(&flags, at, sizeof flags);
  if (mount.parallel_directories.load()) flags |= FUSE_PARALLEL_DIROPS;
  // Offered by every kernel of this protocol.
  if (!mount.options.read_only && mount.protocol_minor.load() >= kKillprivMinor) {
    flags |= FUSE_HANDLE_KILLPRIV_V2;
  }
  std::memcpy(at, &flags, sizeof flags);
}

}  // namespace rsyncfs
