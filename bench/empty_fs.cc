// SPDX-License-Identifier: GPL-3.0-or-later
// A file system that forgets all bytes and keeps names and attributes in memory: what FUSE itself costs, for
// bench/scenarios. It answers as rsyncfs does (no open, long timeouts, extended attributes that nobody has),
// on one thread.   empty_fs MOUNTPOINT; ends when it is unmounted.
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include <fuse_lowlevel.h>

#include "fs/fuse/fuse_api.h"

namespace {

constexpr double kTimeout_s = 86'400;
constexpr uint32_t kHandleKillprivV2 = 1U << 28;  // of struct fuse_init_out; libfuse 3.14 does not know it
constexpr size_t kInitFlagsAt = 12;
constexpr size_t kOldestInitBytes = 24;

std::deque<struct stat> nodes(2);  // by number; 1 is the root
std::map<std::pair<fuse_ino_t, std::string>, fuse_ino_t> names;
bool init_answered = false;

fuse_entry_param entry_of(fuse_ino_t node) {
  fuse_entry_param entry{};
  entry.ino = node;
  if (node != 0) entry.attr = nodes[node];
  entry.attr_timeout = kTimeout_s;
  entry.entry_timeout = kTimeout_s;
  return entry;
}

void op_init(void* /*user*/, fuse_conn_info* connection) {
  connection->want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_AUTO_INVAL_DATA |
                             FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_ATOMIC_O_TRUNC);
  connection->want |= FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_DONT_MASK;
}

void op_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const auto found = names.find({parent, name});
  const fuse_entry_param entry = entry_of(found == names.end() ? 0 : found->second);
  fuse_reply_entry(request, &entry);
}

void make(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  struct stat attr {};
  attr.st_ino = nodes.size();
  attr.st_mode = mode;
  attr.st_nlink = 1;
  nodes.push_back(attr);
  names[{parent, name}] = attr.st_ino;
  const fuse_entry_param entry = entry_of(attr.st_ino);
  fuse_reply_entry(request, &entry);
}

void op_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t /*rdev*/) {
  make(request, parent, name, mode);
}

void op_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  make(request, parent, name, S_IFDIR | mode);
}

void op_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* /*info*/) {
  fuse_reply_attr(request, &nodes[node], kTimeout_s);
}

void op_setattr(fuse_req_t request, fuse_ino_t node, struct stat* attr, int set, fuse_file_info* /*info*/) {
  struct stat& kept = nodes[node];
  if ((set & FUSE_SET_ATTR_MODE) != 0) kept.st_mode = attr->st_mode;
  if ((set & FUSE_SET_ATTR_UID) != 0) kept.st_uid = attr->st_uid;
  if ((set & FUSE_SET_ATTR_GID) != 0) kept.st_gid = attr->st_gid;
  if ((set & FUSE_SET_ATTR_MTIME) != 0) kept.st_mtim = attr->st_mtim;
  fuse_reply_attr(request, &kept, kTimeout_s);
}

void op_getxattr(fuse_req_t request, fuse_ino_t /*node*/, const char* /*name*/, size_t /*size*/) {
  fuse_reply_err(request, ENODATA);
}

void op_open(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* /*info*/) {
  fuse_reply_err(request, ENOSYS);
}

void op_write(fuse_req_t request, fuse_ino_t node, const char* /*data*/, size_t size, off_t offset,
              fuse_file_info* /*info*/) {
  nodes[node].st_size = std::max(nodes[node].st_size, offset + static_cast<off_t>(size));
  fuse_reply_write(request, size);
}

ssize_t read_channel(int fd, void* buffer, size_t size, void* /*user*/) {
  return ::read(fd, buffer, size);
}

// As fs/fuse/init_reply.cc.
ssize_t write_channel(int fd, iovec* parts, int count, void* /*user*/) {
  if (!std::exchange(init_answered, true) && count == 2 && parts[1].iov_len >= kOldestInitBytes) {
    char* at = static_cast<char*>(parts[1].iov_base) + kInitFlagsAt;
    uint32_t flags = 0;
    std::memcpy(&flags, at, sizeof flags);
    flags |= kHandleKillprivV2;
    std::memcpy(at, &flags, sizeof flags);
  }
  return ::writev(fd, parts, count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  nodes[1].st_ino = 1;
  nodes[1].st_mode = S_IFDIR | 0755;
  nodes[1].st_nlink = 2;
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  fuse_opt_add_arg(&arguments, "empty_fs");
  fuse_opt_add_arg(&arguments, "-odefault_permissions,noatime,fsname=empty_fs");
  fuse_lowlevel_ops operations{};
  operations.init = op_init;
  operations.lookup = op_lookup;
  operations.mknod = op_mknod;
  operations.mkdir = op_mkdir;
  operations.getattr = op_getattr;
  operations.setattr = op_setattr;
  operations.getxattr = op_getxattr;
  operations.open = op_open;
  operations.write = op_write;
  fuse_session* session = fuse_session_new(&arguments, &operations, sizeof operations, nullptr);
  if (session == nullptr || fuse_session_mount(session, argv[1]) != 0) return 1;
  fuse_custom_io io{};
  io.read = read_channel;
  io.writev = write_channel;
  if (fuse_session_custom_io(session, &io, fuse_session_fd(session)) != 0) return 1;
  const int result = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  fuse_opt_free_args(&arguments);
  return result == 0 ? 0 : 1;
}
