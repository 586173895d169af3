// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that change nothing.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/listing_buffer.h"
#include "fs/fuse/operation_tables.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/request.h"
#include "io/base/log.h"

namespace rsyncfs {
namespace {

void op_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const auto reply = begin(request, FrontOp::kLookup);
  reply->park(mount_of(request).tree.lookup(parent, name, [reply](Result<Entry> found) {
    found ? reply->entry(*found) : reply->fail(found.error());
  }));
}

void op_forget(fuse_req_t request, fuse_ino_t node, uint64_t count) {
  MountContext& mount = mount_of(request);
  const auto reply = begin(request, FrontOp::kForget);
  mount.tree.forget(node, count);
  reply->none();
}

void op_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  MountContext& mount = mount_of(request);
  const auto reply = begin(request, FrontOp::kForget);
  for (size_t i = 0; i < count; ++i) mount.tree.forget(forgets[i].ino, forgets[i].nlookup);
  reply->none();
}

void op_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kGetattr);
  mount_of(request).tree.getattr(node, [reply](Result<struct stat> attr) {
    attr ? reply->attributes(*attr) : reply->fail(attr.error());
  });
}

void op_readlink(fuse_req_t request, fuse_ino_t node) {
  const auto reply = begin(request, FrontOp::kReadlink);
  mount_of(request).tree.readlink(node, [reply](Result<std::string> target) {
    target ? reply->link(*target) : reply->fail(target.error());
  });
}

// What was written by maps is taken before the file counts as closed.
void op_release(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kRelease);
  MountContext& mount = mount_of(request);
  if (!is_mapper(info)) {
    mount.backing.close(node);
    return reply->done();
  }
  mount.tree.take_mapped(node, [reply, &mount, node](const Result<void>& taken) {
    if (!taken) log_error("what was written by a map is lost: " + taken.error().message());
    mount.backing.close(node);
    reply->done();
  });
}

// ENOSYS is for all files of the mount.
void op_flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kFlush);
  MountContext& mount = mount_of(request);
  if (!mount.backing.agreed()) return reply->fail(ENOSYS);
  if (!is_mapper(info)) return reply->done();
  mount.tree.take_mapped(node, plain_answer(reply));
}

// With what others write by maps of it.
void read_lent(Reply& reply, const LentContent& lent, size_t length, off_t offset) {
  std::vector<std::byte> bytes(length);
  const ssize_t got = ::pread(lent.fd(), bytes.data(), bytes.size(), offset);
  if (got < 0) return reply.fail(errno);
  reply.bytes(std::span(bytes).first(static_cast<size_t>(got)));
}

void op_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kRead);
  const auto length = static_cast<uint32_t>(std::min<size_t>(size, kMaxRequestBytes));
  MountContext& mount = mount_of(request);
  if (info != nullptr && info->fh != static_cast<uint64_t>(OpenKind::kCached)) {
    if (const auto lent = mount.backing.lent(node)) return read_lent(*reply, *lent, length, offset);
  }
  reply->park(mount.tree.read(node, static_cast<uint64_t>(offset), length,
                              [reply, &mount, node](Result<ReadBytes> read) {
                                mount.notifier.settle_attributes(node);
                                if (!read) return reply->fail(read.error());
                                if (!reply->bytes(read->bytes)) mount.tree.note_unreadable(node);
                              }));
}

void op_lseek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kLseek);
  if (offset < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE))
    return reply->fail(offset < 0 ? ENXIO : EINVAL);
  const SeekKind kind = whence == SEEK_DATA ? SeekKind::kData : SeekKind::kHole;
  mount_of(request).tree.seek(node, static_cast<uint64_t>(offset), kind, [reply](Result<uint64_t> found) {
    found ? reply->position(*found) : reply->fail(found.error());
  });
}

// After ENOSYS the kernel opens directories without asking.
void op_opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kOpendir);
  MountContext& mount = mount_of(request);
  if (mount.no_opendir.load() && mount.tree.names_are_settled()) return reply->fail(ENOSYS);
  reply->park(mount.tree.opendir(node, [reply](const Result<void>& known) {
    known ? reply->opened_directory() : reply->fail(known.error());
  }));
}

void list(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, bool plus) {
  const auto reply = begin(request, plus ? FrontOp::kReaddirplus : FrontOp::kReaddir);
  MountContext& mount = mount_of(request);
  auto buffer =
      std::make_shared<ListingBuffer>(request, reply, std::min<size_t>(size, kMaxRequestBytes), plus, mount);
  reply->park(mount.tree.readdir(node, static_cast<uint64_t>(offset), plus, std::move(buffer)));
}

void op_readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* /*info*/) {
  list(request, node, size, offset, false);
}

void op_readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                    fuse_file_info* /*info*/) {
  list(request, node, size, offset, true);
}

void op_releasedir(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* /*info*/) {
  begin(request, FrontOp::kReleasedir)->done();
}

void op_statfs(fuse_req_t request, fuse_ino_t /*node*/) {
  const auto reply = begin(request, FrontOp::kStatfs);
  mount_of(request).tree.statfs([reply](Result<struct statvfs> answer) {
    answer ? reply->file_system(*answer) : reply->fail(answer.error());
  });
}

void op_getxattr(fuse_req_t request, fuse_ino_t node, const char* name, size_t size) {
  const auto reply = begin(request, FrontOp::kGetxattr);
  reply->park(mount_of(request).tree.getxattr(node, name, size, [reply, size](Result<XattrValue> found) {
    if (!found) return reply->fail(found.error());
    if (size == 0) return reply->xattr_size(found->size);
    reply->bytes(std::as_bytes(std::span(found->value)));
  }));
}

void op_listxattr(fuse_req_t request, fuse_ino_t node, size_t size) {
  const auto reply = begin(request, FrontOp::kListxattr);
  const bool privileged = fuse_req_ctx(request)->uid == 0;
  mount_of(request).tree.listxattr(node, privileged, [reply, size](Result<std::string> names) {
    if (!names) return reply->fail(names.error());
    if (size == 0) return reply->xattr_size(names->size());
    if (names->size() > size) return reply->fail(ERANGE);
    reply->bytes(std::as_bytes(std::span(*names)));
  });
}

}  // namespace

void add_reading(fuse_lowlevel_ops& ops) {
  ops.lookup = op_lookup;
  ops.forget = op_forget;
  ops.forget_multi = op_forget_multi;
  ops.getattr = op_getattr;
  ops.readlink = op_readlink;
  ops.read = op_read;
  ops.flush = op_flush;
  ops.release = op_release;
  ops.lseek = op_lseek;
  ops.opendir = op_opendir;
  ops.readdir = op_readdir;
  ops.readdirplus = op_readdirplus;
  ops.releasedir = op_releasedir;
  ops.statfs = op_statfs;
  ops.getxattr = op_getxattr;
  ops.listxattr = op_listxattr;
}

}  // namespace rsyncfs
