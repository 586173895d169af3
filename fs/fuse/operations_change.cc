// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that change names, attributes and extended attributes.
#include <sys/xattr.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/operation_tables.h"
#include "fs/fuse/request.h"

namespace rsyncfs {
namespace {

Done<Entry> entry_answer(std::shared_ptr<Reply> reply) {
  return [reply = std::move(reply)](const Result<Entry>& made) {
    made ? reply->entry(*made) : reply->fail(made.error());
  };
}

void make(fuse_req_t request, FrontOp op, fuse_ino_t parent, const char* name, NewFile file) {
  const auto reply = begin(request, op);
  file.caller = caller_of(request);
  reply->park(mount_of(request).tree.make(parent, name, std::move(file), entry_answer(reply)));
}

void op_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  make(request, FrontOp::kMknod, parent, name, {.mode = mode, .rdev = rdev});
}

void op_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  make(request, FrontOp::kMkdir, parent, name, {.mode = S_IFDIR | (mode & ALLPERMS)});
}

void op_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  make(request, FrontOp::kSymlink, parent, name, {.mode = S_IFLNK | 0777, .link_target = target});
}

void op_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  const auto reply = begin(request, FrontOp::kCreate);
  if (mount_of(request).no_open.load()) return reply->fail(ENOSYS);
  NewFile file{.mode = S_IFREG | (mode & ALLPERMS), .caller = caller_of(request)};
  const CreateFlags flags{(info->flags & O_EXCL) != 0, (info->flags & O_TRUNC) != 0};
  reply->park(mount_of(request).tree.create(
      parent, name, std::move(file), flags,
      [reply](const Result<Entry>& made) { made ? reply->created(*made) : reply->fail(made.error()); }));
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
void op_tmpfile(fuse_req_t request, fuse_ino_t parent, mode_t mode, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kTmpfile);
  mount_of(request).tree.make_unnamed(
      parent, {.mode = S_IFREG | (mode & ALLPERMS), .caller = caller_of(request)},
      [reply](const Result<Entry>& made) { made ? reply->created(*made) : reply->fail(made.error()); });
}
#endif

void op_link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  const auto reply = begin(request, FrontOp::kLink);
  reply->park(mount_of(request).tree.link(node, parent, name, entry_answer(reply)));
}

void op_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const auto reply = begin(request, FrontOp::kUnlink);
  reply->park(mount_of(request).tree.unlink(parent, name, plain_answer(reply)));
}

void op_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const auto reply = begin(request, FrontOp::kRmdir);
  reply->park(mount_of(request).tree.rmdir(parent, name, plain_answer(reply)));
}

void op_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  const auto reply = begin(request, FrontOp::kRename);
  RenameMode mode = RenameMode::kReplace;
  if (flags == RENAME_NOREPLACE) {
    mode = RenameMode::kNoReplace;
  } else if (flags == RENAME_EXCHANGE) {
    mode = RenameMode::kExchange;
  } else if (flags != 0) {
    return reply->fail(EINVAL);
  }
  reply->park(mount_of(request).tree.rename(parent, name, new_parent, new_name, mode, plain_answer(reply)));
}

FileTime time_of(const timespec& time) {
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

AttributeRequest attribute_request(const struct stat& attr, int set) {
  AttributeRequest asked;
  if ((set & FUSE_SET_ATTR_MODE) != 0) asked.permissions = attr.st_mode & ALLPERMS;
  if ((set & FUSE_SET_ATTR_UID) != 0) asked.uid = attr.st_uid;
  if ((set & FUSE_SET_ATTR_GID) != 0) asked.gid = attr.st_gid;
  if ((set & FUSE_SET_ATTR_SIZE) != 0) asked.size = static_cast<uint64_t>(attr.st_size);
  if ((set & FUSE_SET_ATTR_ATIME) != 0) asked.atime = time_of(attr.st_atim);
  if ((set & FUSE_SET_ATTR_MTIME) != 0) asked.mtime = time_of(attr.st_mtim);
  if ((set & FUSE_SET_ATTR_ATIME_NOW) != 0) asked.atime = FileTime::now();
  if ((set & FUSE_SET_ATTR_MTIME_NOW) != 0) asked.mtime = FileTime::now();
  return asked;
}

void op_setattr(fuse_req_t request, fuse_ino_t node, struct stat* attr, int set, fuse_file_info* /*info*/) {
  const auto reply = begin(request, FrontOp::kSetattr);
  mount_of(request).tree.setattr(node, attribute_request(*attr, set), caller_of(request),
                                 [reply](const Result<struct stat>& changed) {
                                   changed ? reply->attributes(*changed) : reply->fail(changed.error());
                                 });
}

void op_setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value, size_t size,
                 int flags) {
  const auto reply = begin(request, FrontOp::kSetxattr);
  const SetXattrFlags how{(flags & XATTR_CREATE) != 0, (flags & XATTR_REPLACE) != 0};
  mount_of(request).tree.setxattr(node, name, {value, size}, how, caller_of(request), plain_answer(reply));
}

void op_removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
  const auto reply = begin(request, FrontOp::kRemovexattr);
  mount_of(request).tree.removexattr(node, name, plain_answer(reply));
}

}  // namespace

void add_changing(fuse_lowlevel_ops& ops) {
  ops.mknod = op_mknod;
  ops.mkdir = op_mkdir;
  ops.symlink = op_symlink;
  ops.create = op_create;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  ops.tmpfile = op_tmpfile;
#endif
  ops.link = op_link;
  ops.unlink = op_unlink;
  ops.rmdir = op_rmdir;
  ops.rename = op_rename;
  ops.setattr = op_setattr;
  ops.setxattr = op_setxattr;
  ops.removexattr = op_removexattr;
}

}  // namespace rsyncfs
