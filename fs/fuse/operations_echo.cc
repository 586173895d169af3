// SPDX-License-Identifier: GPL-3.0-or-later
// What our own thread asks for through the mount (fs/fuse/event_raiser.h) has been done: the kernel is told
// so, and nothing else happens. Nothing here waits for the source.
#include <cerrno>

#include "fs/fuse/event_raiser.h"
#include "fs/fuse/fuse_api.h"
#include "fs/fuse/operation_tables.h"
#include "fs/fuse/request.h"

namespace rsyncfs {
namespace {

// The operations for everybody else. Set before the first session begins.
fuse_lowlevel_ops& ordinary() {
  static fuse_lowlevel_ops operations{};
  return operations;
}

// Null: it is somebody else's.
const EventRaiser* raiser(fuse_req_t request) {
  const EventRaiser* const events = mount_of(request).events.get();
  return events != nullptr && events->is_own(fuse_req_ctx(request)->pid) ? events : nullptr;
}

// What is there now, without asking anybody; kGhost is nothing that is.
void answer_stored(fuse_req_t request, FrontOp op, fuse_ino_t parent, const char* name) {
  const auto reply = begin(request, op);
  mount_of(request).tree.lookup_stored(parent, name, [reply](const Result<Entry>& found) {
    if (!found) return reply->fail(found.error());
    found->node == 0 ? reply->fail(ENOENT) : reply->entry(*found);
  });
}

void op_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const EventRaiser* const events = raiser(request);
  if (events == nullptr) return ordinary().lookup(request, parent, name);
  if (events->is_being_made(parent, name)) return begin(request, FrontOp::kLookup)->fail(ENOENT);
  const Entry removed = events->being_removed(parent, name);
  if (removed.node == 0) return answer_stored(request, FrontOp::kLookup, parent, name);
  if (removed.node != EventRaiser::kGhost) mount_of(request).tree.count_lookup(removed.node);
  begin(request, FrontOp::kLookup)->passing_entry(removed);
}

void op_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  if (raiser(request) == nullptr) return ordinary().mknod(request, parent, name, mode, rdev);
  answer_stored(request, FrontOp::kMknod, parent, name);
}

void op_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  if (raiser(request) == nullptr) return ordinary().mkdir(request, parent, name, mode);
  answer_stored(request, FrontOp::kMkdir, parent, name);
}

void op_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  if (raiser(request) == nullptr) return ordinary().symlink(request, target, parent, name);
  answer_stored(request, FrontOp::kSymlink, parent, name);
}

void op_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (raiser(request) == nullptr) return ordinary().unlink(request, parent, name);
  begin(request, FrontOp::kUnlink)->done();
}

void op_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (raiser(request) == nullptr) return ordinary().rmdir(request, parent, name);
  begin(request, FrontOp::kRmdir)->done();
}

void op_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  if (raiser(request) == nullptr)
    return ordinary().rename(request, parent, name, new_parent, new_name, flags);
  begin(request, FrontOp::kRename)->done();
}

void op_setattr(fuse_req_t request, fuse_ino_t node, struct stat* attr, int set, fuse_file_info* info) {
  if (raiser(request) == nullptr) return ordinary().setattr(request, node, attr, set, info);
  const auto reply = begin(request, FrontOp::kSetattr);
  mount_of(request).tree.getattr(node, [reply](const Result<struct stat>& now) {
    now ? reply->attributes(*now) : reply->fail(now.error());
  });
}

void op_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  if (raiser(request) == nullptr) return ordinary().open(request, node, info);
  const auto reply = begin(request, FrontOp::kOpen);
  MountContext& mount = mount_of(request);
  if (mount.no_open.load()) return reply->fail(ENOSYS);
  reply->opened_file(node, mount.backing.open(node, info->flags));
}

void op_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  if (node != EventRaiser::kGhost) return ordinary().getattr(request, node, info);
  begin(request, FrontOp::kGetattr)->fail(ESTALE);
}

}  // namespace

void add_echoes(fuse_lowlevel_ops& ops) {
  ordinary() = ops;
  ops.lookup = op_lookup;
  ops.getattr = op_getattr;
  ops.open = op_open;
  ops.setattr = op_setattr;
  ops.mknod = op_mknod;
  ops.mkdir = op_mkdir;
  ops.symlink = op_symlink;
  ops.unlink = op_unlink;
  ops.rmdir = op_rmdir;
  ops.rename = op_rename;
}

}  // namespace rsyncfs
