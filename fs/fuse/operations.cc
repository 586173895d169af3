// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/operations.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "fs/fuse/capabilities.h"
#include "fs/fuse/fuse_api.h"
#include "fs/fuse/listing_buffer.h"
#include "fs/fuse/mount_context.h"
#include "fs/fuse/reply.h"

namespace rsyncfs {
namespace {

MountContext& mount_of(fuse_req_t request) {
  return *static_cast<MountContext*>(fuse_req_userdata(request));
}

std::shared_ptr<Reply> begin(fuse_req_t request, FrontOp op) {
  MountContext& mount = mount_of(request);
  mount.count(op);
  return Reply::make(request, mount);
}

void op_init(void* user_data, fuse_conn_info* connection) {
  MountContext& mount = *static_cast<MountContext*>(user_data);
  choose_capabilities(*connection, mount);
  mount.initialized.store(true);
}

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

// ENOSYS tells the kernel to open, and later to close, by itself from now on.
void op_open(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kOpen);
  const bool writing = (info->flags & O_ACCMODE) != O_RDONLY || (info->flags & O_TRUNC) != 0;
  if (mount_of(request).no_open.load()) return reply->fail(ENOSYS);
  if (writing) return reply->fail(EROFS);
  reply->opened_file();
}

void op_release(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* /*info*/) {
  begin(request, FrontOp::kRelease)->done();
}

void op_flush(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* /*info*/) {
  begin(request, FrontOp::kFlush)->fail(ENOSYS);
}

void op_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kRead);
  const auto length = static_cast<uint32_t>(std::min<size_t>(size, kMaxRequestBytes));
  reply->park(mount_of(request).tree.read(
      node, static_cast<uint64_t>(offset), length,
      [reply](Result<ReadBytes> read) { read ? reply->bytes(read->bytes) : reply->fail(read.error()); }));
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

void op_opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kOpendir);
  reply->park(mount_of(request).tree.opendir(node, [reply](Result<OpenedDirectory> opened) {
    opened ? reply->opened_directory(*opened) : reply->fail(opened.error());
  }));
}

void list(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, uint64_t handle, bool plus) {
  const auto reply = begin(request, plus ? FrontOp::kReaddirplus : FrontOp::kReaddir);
  MountContext& mount = mount_of(request);
  ListingBuffer buffer(request, *reply, std::min<size_t>(size, kMaxRequestBytes), plus,
                       static_cast<double>(mount.options.cache_timeout.count()));
  mount.tree.readdir(node, handle, static_cast<uint64_t>(offset), plus, buffer);
}

void op_readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info) {
  list(request, node, size, offset, info->fh, false);
}

void op_readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info) {
  list(request, node, size, offset, info->fh, true);
}

void op_releasedir(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kReleasedir);
  mount_of(request).tree.releasedir(info->fh);
  reply->done();
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

// Every modification. The kernel refuses them itself while the mount is "ro"; it need not be.
template <class... Arguments>
void op_refuse(fuse_req_t request, Arguments... /*arguments*/) {
  begin(request, FrontOp::kRefused)->fail(EROFS);
}

void refuse_modifications(fuse_lowlevel_ops& ops) {
  ops.setattr = op_refuse;
  ops.mknod = op_refuse;
  ops.mkdir = op_refuse;
  ops.unlink = op_refuse;
  ops.rmdir = op_refuse;
  ops.symlink = op_refuse;
  ops.rename = op_refuse;
  ops.link = op_refuse;
  ops.create = op_refuse;
  ops.write = op_refuse;
  ops.setxattr = op_refuse;
  ops.removexattr = op_refuse;
  ops.fallocate = op_refuse;
  ops.copy_file_range = op_refuse;
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops ops{};
  ops.init = op_init;
  ops.lookup = op_lookup;
  ops.forget = op_forget;
  ops.forget_multi = op_forget_multi;
  ops.getattr = op_getattr;
  ops.readlink = op_readlink;
  ops.open = op_open;
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
  refuse_modifications(ops);
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& fuse_operations() {
  static const fuse_lowlevel_ops ops = make_operations();
  return ops;
}

}  // namespace rsyncfs
