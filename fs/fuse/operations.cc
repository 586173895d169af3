// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/operations.h"

#include <fcntl.h>

#include <cerrno>

#include "fs/fuse/capabilities.h"
#include "fs/fuse/fuse_api.h"
#include "fs/fuse/operation_tables.h"
#include "fs/fuse/request.h"

namespace rsyncfs {
namespace {

void op_init(void* user_data, fuse_conn_info* connection) {
  MountContext& mount = *static_cast<MountContext*>(user_data);
  choose_capabilities(*connection, mount);
  mount.initialized.store(true);
}

void op_open_read_only(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kOpen);
  const bool writing = (info->flags & O_ACCMODE) != O_RDONLY || (info->flags & O_TRUNC) != 0;
  if (mount_of(request).no_open.load()) return reply->fail(ENOSYS);
  if (writing) return reply->fail(EROFS);
  reply->opened_file();
}

// The kernel refuses them itself while the mount is "ro"; it need not be.
template <class... Arguments>
void op_refuse(fuse_req_t request, Arguments... /*arguments*/) {
  begin(request, FrontOp::kRefused)->fail(EROFS);
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
  }
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
