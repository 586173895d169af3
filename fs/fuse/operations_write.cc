// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that change bytes, or make changes durable.
#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <span>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/operation_tables.h"
#include "fs/fuse/request.h"

namespace rsyncfs {
namespace {

// ENOSYS tells the kernel to open, and later to close, by itself from now on. O_TRUNC comes here only where
// open does.
void op_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kOpen);
  MountContext& mount = mount_of(request);
  if (mount.no_open.load()) return reply->fail(ENOSYS);
  const OpenedFile opened = mount.backing.open(node, info->flags);
  const auto answer = [reply, &mount, node, opened](const Result<void>& done) {
    if (done) return reply->opened_file(node, opened);
    mount.backing.close(node);
    reply->fail(done.error());
  };
  if ((info->flags & O_TRUNC) != 0) return mount.tree.truncate(node, caller_of(request), answer);
  if (opened.kind == OpenKind::kMapper) return mount.tree.prepare_lent(node, answer);
  answer({});
}

void op_write(fuse_req_t request, fuse_ino_t node, const char* data, size_t size, off_t offset,
              fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kWrite);
  // What a map wrote is nobody's at this moment, and has its place.
  const bool mapped = info->writepage != 0;
  const bool append = (info->flags & O_APPEND) != 0 && !mapped;
  mount_of(request).tree.write(node, static_cast<uint64_t>(offset), std::as_bytes(std::span(data, size)),
                               append, mapped ? Caller() : caller_of(request),
                               [reply](const Result<size_t>& written) {
                                 written ? reply->written(*written) : reply->fail(written.error());
                               });
}

std::optional<AllocateMode> allocate_mode(int mode) {
  switch (mode) {
    case 0:
      return AllocateMode::kAllocate;
    case FALLOC_FL_KEEP_SIZE:
      return AllocateMode::kAllocateKeepSize;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
      return AllocateMode::kPunchHole;
    case FALLOC_FL_ZERO_RANGE:
      return AllocateMode::kZeroRange;
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
      return AllocateMode::kZeroRangeKeepSize;
    default:
      return std::nullopt;
  }
}

void op_fallocate(fuse_req_t request, fuse_ino_t node, int mode, off_t offset, off_t length,
                  fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kFallocate);
  const std::optional<AllocateMode> how = allocate_mode(mode);
  if (!how) return reply->fail(EOPNOTSUPP);
  if (offset < 0 || length <= 0) return reply->fail(EINVAL);
  mount_of(request).tree.allocate(node, *how, static_cast<uint64_t>(offset), static_cast<uint64_t>(length),
                                  caller_of(request), plain_answer(reply));
}

void op_copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset, fuse_file_info* /*info*/,
                        fuse_ino_t to, off_t to_offset, fuse_file_info* /*to_info*/, size_t length,
                        int /*flags*/) {
  const auto reply = begin(request, FrontOp::kCopyFileRange);
  mount_of(request).tree.copy(from, static_cast<uint64_t>(from_offset), to, static_cast<uint64_t>(to_offset),
                              length, caller_of(request), [reply](const Result<uint64_t>& copied) {
                                copied ? reply->written(*copied) : reply->fail(copied.error());
                              });
}

void op_fsync(fuse_req_t request, fuse_ino_t node, int /*datasync*/, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kFsync);
  MountContext& mount = mount_of(request);
  if (!is_mapper(info)) return reply->park(mount.tree.sync(node, plain_answer(reply)));
  mount.tree.take_mapped(node, [reply, &mount, node](const Result<void>& taken) {
    if (!taken) return reply->fail(taken.error());
    reply->park(mount.tree.sync(node, plain_answer(reply)));
  });
}

void op_fsyncdir(fuse_req_t request, fuse_ino_t node, int /*datasync*/, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kFsync);
  reply->park(mount_of(request).tree.sync(node, plain_answer(reply)));
}

}  // namespace

void add_writing(fuse_lowlevel_ops& ops) {
  ops.open = op_open;
  ops.write = op_write;
  ops.fallocate = op_fallocate;
  ops.copy_file_range = op_copy_file_range;
  ops.fsync = op_fsync;
  ops.fsyncdir = op_fsyncdir;
}

}  // namespace rsyncfs
