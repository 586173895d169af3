// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/session.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "fs/fuse/fuse_api.h"
#include "fs/fuse/fuse_log.h"
#include "fs/fuse/init_reply.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/rings.h"
#include "io/base/log.h"

namespace rsyncfs {
namespace {

// A comma would end the option, a backslash escape what follows.
std::string escape_option(const std::string& value) {
  std::string escaped;
  for (const char c : value) {
    if (c == ',' || c == '\\') escaped.push_back('\\');
    escaped.push_back(c);
  }
  return escaped;
}

std::vector<std::string> session_arguments(const FrontOptions& options) {
  std::string list =
      "fsname=" + escape_option(options.fsname) + ",subtype=rsyncfs,default_permissions,noatime";
  list += ",max_read=" + std::to_string(kMaxRequestBytes);
  list += options.read_only ? ",ro" : ",rw";
  list += options.suid ? ",suid" : ",nosuid";
  list += options.dev ? ",dev" : ",nodev";
  if (options.rings) list += ring_mount_options();
  if (options.allow_other) list += ",allow_other";
  for (const std::string& option : options.mount_options) list += "," + escape_option(option);
  std::vector<std::string> arguments{"rsyncfs", "-o", list};
  if (options.debug) arguments.emplace_back("-d");
  return arguments;
}

ssize_t read_channel(int fd, void* buffer, size_t size, void* user_data) {
  const ssize_t got = ::read(fd, buffer, size);
  if (got > 0) {
    note_init_request(*static_cast<MountContext*>(user_data),
                      std::span(static_cast<const std::byte*>(buffer), static_cast<size_t>(got)));
  }
  return got;
}

ssize_t write_channel(int fd, iovec* parts, int count, void* user_data) {
  amend_init_reply(*static_cast<MountContext*>(user_data), std::span(parts, static_cast<size_t>(count)));
  return ::writev(fd, parts, count);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::create(MountContext& mount) {
  send_fuse_messages_to_log();
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  for (const std::string& argument : session_arguments(mount.options)) {
    if (fuse_opt_add_arg(&arguments, argument.c_str()) != 0) return Error::os(ENOMEM, "mount options");
  }
  const FuseMessages messages;
  fuse_session* session = fuse_session_new(&arguments, &fuse_operations(mount.options.read_only),
                                           sizeof(fuse_lowlevel_ops), &mount);
  fuse_opt_free_args(&arguments);
  if (session == nullptr) {
    return Error(Errc::kUsage, messages.last().empty() ? "mount options: refused" : messages.last());
  }
  return std::unique_ptr<Session>(new Session(session, mount));
}

Session::~Session() {
  if (mounted_) fuse_session_unmount(session_);
  fuse_session_destroy(session_);
}

// libfuse unmounts by path unless its channel says that the mount is dead already, as the end of a broken
// pipe does.
void Session::disown_mount() {
  if (!mounted_) return;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    mounted_ = false;
    return;
  }
  ::close(ends[0]);
  if (::dup3(ends[1], fuse_session_fd(session_), O_CLOEXEC) < 0) mounted_ = false;
  ::close(ends[1]);
}

Result<void> Session::mount(const std::string& mountpoint) {
  const FuseMessages messages;
  errno = 0;
  if (fuse_session_mount(session_, mountpoint.c_str()) != 0) {
    return Error(Errc::kOs, "mount on " + mountpoint + ": " +
                                (messages.last().empty() ? "refused by fusermount3" : messages.last()))
        .with_errno(errno != 0 ? errno : EPERM);
  }
  mounted_ = true;
  return kAmendInitReply ? hook(fuse_session_fd(session_)) : Result<void>();
}

// libfuse does its input and output through us from now on.
Result<void> Session::hook(int fd) {
  fuse_custom_io io{};
  io.read = read_channel;
  io.writev = write_channel;
  const int failed = fuse_session_custom_io(session_, &io, fd);
  if (failed != 0) return Error::os(failed < 0 ? -failed : failed, "FUSE channel");
  return {};
}

struct Session::Buffer::Storage {
  fuse_buf buffer{};
};

Session::Buffer::Buffer() : storage_(std::make_unique<Storage>()) {}

// libfuse allocates it at the first request, with malloc().
Session::Buffer::~Buffer() {
  std::free(storage_->buffer.mem);
}

bool Session::receive(Buffer& buffer) {
  const int received = fuse_session_receive_buf(session_, &buffer.storage_->buffer);
  if (received > 0) return true;
  if (received == -EINTR || received == -EAGAIN) return false;
  if (received < 0) log_error(Error::os(-received, "reading FUSE requests").message());
  exit();
  return false;
}

void Session::process(Buffer& buffer) {
  if (mount_.rings_run.load(std::memory_order_relaxed)) note_interrupt(buffer);
  fuse_session_process_buf(session_, &buffer.storage_->buffer);
}

// Interrupts of what came by a ring are to be read, and libfuse does not find their requests.
void Session::note_interrupt(const Buffer& buffer) {
  const fuse_buf& read = buffer.storage_->buffer;
  fuse_in_header header{};
  fuse_interrupt_in interrupt{};
  if (read.size < sizeof header + sizeof interrupt || (read.flags & FUSE_BUF_IS_FD) != 0) return;
  std::memcpy(&header, read.mem, sizeof header);
  if (header.opcode != FUSE_INTERRUPT) return;
  std::memcpy(&interrupt, static_cast<const std::byte*>(read.mem) + sizeof header, sizeof interrupt);
  const RequestId waiting = mount_.replies.interrupted(interrupt.unique);
  if (waiting == 0) return;
  mount_.count(FrontOp::kInterrupt);
  mount_.tree.cancel(waiting);
}

bool Session::has_ring_threads() const {
  return have_ring_threads(session_);
}

void Session::stop_ring_threads() {
  rsyncfs::stop_ring_threads(session_);
}

bool Session::more_waits() const {
  pollfd channel{fuse_session_fd(session_), POLLIN, 0};
  return ::poll(&channel, 1, 0) > 0 && (channel.revents & POLLIN) != 0;
}

void Session::exit() {
  fuse_session_exit(session_);
}

bool Session::exited() const {
  return fuse_session_exited(session_) != 0;
}

int Session::channel() const {
  return fuse_session_fd(session_);
}

int Session::drop_entry(NodeId parent, std::string_view name) {
  const std::string terminated(name);
  return fuse_lowlevel_notify_inval_entry(session_, parent, terminated.c_str(), terminated.size());
}

int Session::drop_attributes(NodeId node) {
  return fuse_lowlevel_notify_inval_inode(session_, node, -1, 0);
}

int Session::drop_all(NodeId node) {
  return fuse_lowlevel_notify_inval_inode(session_, node, 0, 0);
}

}  // namespace rsyncfs
