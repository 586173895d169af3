// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/init_reply.h"

#include <linux/fuse.h>

#include <algorithm>
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
// As in the header of that protocol: bit 42 of the flags, and 16 bits behind max_stack_depth.
constexpr unsigned kRequestTimeoutMinor = 43;
constexpr uint32_t kMoreFlags = uint32_t{1} << 30;
constexpr uint32_t kRequestTimeoutFlag = uint32_t{1} << (42 - 32);
constexpr size_t kMoreFlagsOffset = 32;
constexpr size_t kRequestTimeoutOffset = 40;
// Bit 37, and the protocol that has it; both in the request and in the reply.
constexpr uint32_t kPassthroughFlag = uint32_t{1} << (37 - 32);
constexpr size_t kMoreRequestFlagsOffset = sizeof(fuse_in_header) + 16;
constexpr size_t kStackDepthOffset = 36;
// What we are, and what may be stacked over us; one more than the file systems below the store may be.
constexpr uint32_t kStackDepth = 1;

template <class T>
void put_at(std::byte* reply, size_t offset, T value) {
  std::memcpy(reply + offset, &value, sizeof value);
}

// True: the reply speaks of it.
bool set_request_timeout(const MountContext& mount, const iovec& reply) {
  const auto seconds = std::min<int64_t>(mount.options.request_timeout.count(), UINT16_MAX);
  if (seconds <= 0 || mount.protocol_minor.load() < kRequestTimeoutMinor ||
      reply.iov_len < kRequestTimeoutOffset + sizeof(uint16_t))
    return false;
  auto* at = static_cast<std::byte*>(reply.iov_base);
  uint32_t flags = 0;
  std::memcpy(&flags, at + kMoreFlagsOffset, sizeof flags);
  put_at(at, kMoreFlagsOffset, flags | kRequestTimeoutFlag);
  put_at(at, kRequestTimeoutOffset, static_cast<uint16_t>(seconds));
  return true;
}

// True: the reply speaks of it.
bool set_passthrough(const MountContext& mount, const iovec& reply) {
  if (!mount.backing.agreed() || reply.iov_len < kStackDepthOffset + sizeof(uint32_t)) return false;
  auto* at = static_cast<std::byte*>(reply.iov_base);
  uint32_t flags = 0;
  std::memcpy(&flags, at + kMoreFlagsOffset, sizeof flags);
  put_at(at, kMoreFlagsOffset, flags | kPassthroughFlag);
  put_at(at, kStackDepthOffset, kStackDepth);
  return true;
}

}  // namespace

void note_init_request(MountContext& mount, std::span<const std::byte> request) {
  if (mount.initialized.load(std::memory_order_relaxed)) return;
  fuse_in_header header{};
  fuse_init_in init{};
  if (request.size() < kMoreRequestFlagsOffset + sizeof(uint32_t)) return;
  std::memcpy(&header, request.data(), sizeof header);
  if (header.opcode != FUSE_INIT) return;
  // Its newest part may be shorter than ours.
  std::memcpy(&init, request.data() + sizeof header, std::min(sizeof init, request.size() - sizeof header));
  uint32_t more = 0;
  std::memcpy(&more, request.data() + kMoreRequestFlagsOffset, sizeof more);
  mount.passthrough_offered.store((init.flags & kMoreFlags) != 0 && (more & kPassthroughFlag) != 0);
}

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
  if (set_request_timeout(mount, reply[1])) flags |= kMoreFlags;
  if (set_passthrough(mount, reply[1])) flags |= kMoreFlags;
  std::memcpy(at, &flags, sizeof flags);
}

}  // namespace rsyncfs
