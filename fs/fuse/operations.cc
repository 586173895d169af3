// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/operations.h"

#include <fcntl.h>

#include <cerrno>

#include "fs/fuse/capabilities.h"
#include "fs/fuse/fuse_api.h"
#include "fs/fuse/operation_tables.h"
#include "fs/fuse/request.h"
#include "fs/fuse/rings.h"

namespace rsyncfs {
namespace {

void op_init(void* user_data, fuse_conn_info* connection) {
  MountContext& mount = *static_cast<MountContext*>(user_data);
  choose_capabilities(*connection, mount);
  mount.initialized.store(true);
}

void op_open_read_only(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kOpen);
  const bool writing = (info->flags & O_ACCMODE) != O_RDONLY || (info->flags & O_TRUNC) != 0;
  if (mount_of(request).no_open.load()) return reply->fail(ENOSYS);
  if (writing) return reply->fail(EROFS);
  reply->opened_file(node, mount_of(request).backing.open(node, info->flags));
}

// The kernel refuses them itself while the mount is "ro"; it need not be.
template <class... Arguments>
void op_refuse(fuse_req_t request, Arguments... /*arguments*/) {
  begin(request, FrontOp::kRefused)->fail(EROFS);
}

const fuse_lowlevel_ops& changing_operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops ops{};
    add_changing(ops);
    add_writing(ops);
    return ops;
  }();
  return operations;
}

// Goes on with the operation unless changes are refused by now.
template <auto Operation, class... Arguments>
void op_if_not_refused(fuse_req_t request, Arguments... arguments) {
  if (mount_of(request).changes_refused.load()) return op_refuse(request);
  (changing_operations().*Operation)(request, arguments...);
}

void op_open_if_not_refused(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  if (mount_of(request).changes_refused.load()) return op_open_read_only(request, node, info);
  changing_operations().open(request, node, info);
}

// What comes from the page cache was written before.
void op_write_if_not_refused(fuse_req_t request, fuse_ino_t node, const char* data, size_t size, off_t offset,
                             fuse_file_info* info) {
  if (mount_of(request).changes_refused.load() && info->writepage == 0) return op_refuse(request);
  changing_operations().write(request, node, data, size, offset, info);
}

void add_changing_until_refused(fuse_lowlevel_ops& ops) {
  ops.open = op_open_if_not_refused;
  ops.write = op_write_if_not_refused;
  ops.setattr = op_if_not_refused<&fuse_lowlevel_ops::setattr>;
  ops.mknod = op_if_not_refused<&fuse_lowlevel_ops::mknod>;
  ops.mkdir = op_if_not_refused<&fuse_lowlevel_ops::mkdir>;
  ops.unlink = op_if_not_refused<&fuse_lowlevel_ops::unlink>;
  ops.rmdir = op_if_not_refused<&fuse_lowlevel_ops::rmdir>;
  ops.symlink = op_if_not_refused<&fuse_lowlevel_ops::symlink>;
  ops.rename = op_if_not_refused<&fuse_lowlevel_ops::rename>;
  ops.link = op_if_not_refused<&fuse_lowlevel_ops::link>;
  ops.create = op_if_not_refused<&fuse_lowlevel_ops::create>;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  ops.tmpfile = op_if_not_refused<&fuse_lowlevel_ops::tmpfile>;
#endif
  ops.setxattr = op_if_not_refused<&fuse_lowlevel_ops::setxattr>;
  ops.removexattr = op_if_not_refused<&fuse_lowlevel_ops::removexattr>;
  ops.fallocate = op_if_not_refused<&fuse_lowlevel_ops::fallocate>;
  ops.copy_file_range = op_if_not_refused<&fuse_lowlevel_ops::copy_file_range>;
}

fuse_lowlevel_ops make_operations(bool read_only) {
  fuse_lowlevel_ops ops{};
  ops.init = op_init;
  add_reading(ops);
  if (read_only) {
    add_refusing(ops);
  } else {
    add_changing(ops);
    add_writing(ops);
    add_changing_until_refused(ops);
    add_echoes(ops);
  }
  guard_rings(ops, read_only);
  return ops;
}

}  // namespace

void add_refusing(fuse_lowlevel_ops& ops) {
  ops.open = op_open_read_only;
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

const fuse_lowlevel_ops& fuse_operations(bool read_only) {
  static const fuse_lowlevel_ops reading = make_operations(true);
  static const fuse_lowlevel_ops writing = make_operations(false);
  return read_only ? reading : writing;
}

}  // namespace rsyncfs
