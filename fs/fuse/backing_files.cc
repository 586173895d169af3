// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/backing_files.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {
namespace {

// As in the header of protocol 7.40, which may be younger than ours.
struct BackingMap {
  int32_t fd = 0;
  uint32_t flags = 0;
  uint64_t padding = 0;
};
constexpr unsigned kDeviceMagic = 229;
constexpr unsigned long kBackingOpen = _IOW(kDeviceMagic, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(kDeviceMagic, 2, uint32_t);

bool writes(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

// Direct reads of a backing file must be aligned as its file system wants it; ours need not be.
OpenKind kind_of(int flags) {
  if ((flags & O_ACCMODE) == O_RDWR) return OpenKind::kMapper;
  return writes(flags) || (flags & O_DIRECT) != 0 ? OpenKind::kWriter : OpenKind::kBacked;
}

}  // namespace

void BackingFiles::start(int channel, uint64_t most_bytes) {
  channel_ = channel;
  most_bytes_ = most_bytes;
}

OpenedFile BackingFiles::open(NodeId node, int flags) {
  if (!agreed()) return {};
  Shard& files = shard(node);
  const std::lock_guard lock(files.mutex);
  Use& use = files.files[node];
  if (use.opens == 0 && kind_of(flags) == OpenKind::kBacked) lend(node, use);
  ++use.opens;
  return use.lent ? OpenedFile{kind_of(flags), use.backing} : OpenedFile{};
}

void BackingFiles::lend(NodeId node, Use& use) {
  if (refused_.load(std::memory_order_relaxed)) return;
  std::shared_ptr<LentContent> lent = tree_.lend(node, most_bytes_);
  if (!lent) return;
  BackingMap map;
  map.fd = lent->fd();
  const int backing = ::ioctl(channel_, kBackingOpen, &map);
  if (backing <= 0) {
    // It needs CAP_SYS_ADMIN where the machine itself is, and a file system that is no stack of others.
    if (!refused_.exchange(true))
      log_warn("large files are read through the page cache: " +
               Error::os(errno, "a file for the kernel").message());
    return;
  }
  use.backing = backing;
  use.lent = std::move(lent);
  lent_total_.fetch_add(1, std::memory_order_relaxed);
}

// The kernel has counted the close before it tells us, so a number that nobody has open here is one that it
// does not need any more.
void BackingFiles::close(NodeId node) {
  if (!agreed()) return;
  Use last;
  Shard& files = shard(node);
  const std::lock_guard lock(files.mutex);
  const auto found = files.files.find(node);
  if (found == files.files.end() || --found->second.opens > 0) return;
  last = std::move(found->second);
  files.files.erase(found);
  if (!last.lent) return;
  const auto backing = static_cast<uint32_t>(last.backing);
  if (::ioctl(channel_, kBackingClose, &backing) != 0)
    log_debug(Error::os(errno, "taking a file back from the kernel").message());
}

std::shared_ptr<const LentContent> BackingFiles::lent(NodeId node) {
  if (!agreed()) return nullptr;
  Shard& files = shard(node);
  const std::lock_guard lock(files.mutex);
  const auto found = files.files.find(node);
  return found == files.files.end() ? nullptr : found->second.lent;
}

}  // namespace rsyncfs
