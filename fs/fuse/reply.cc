// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/reply.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "fs/fuse/errno_map.h"
#include "fs/fuse/fuse_api.h"
#include "fs/fuse/rings.h"

namespace rsyncfs {
namespace {

// Answers that say something normal.
bool is_failure(int error_number) {
  return error_number != ENOENT && error_number != ENODATA && error_number != ENOSYS && error_number != EINTR;
}

}  // namespace

double name_seconds(const MountContext& mount) {
  return static_cast<double>(mount.options.cache_timeout.count());
}

double attribute_seconds(const struct stat& attr, const MountContext& mount) {
  if (!S_ISDIR(attr.st_mode)) return name_seconds(mount);
  return std::chrono::duration<double>(
             std::min<std::chrono::milliseconds>(mount.tree.use_holds_for(), mount.options.cache_timeout))
      .count();
}

namespace {

fuse_entry_param packed(const Entry& entry, const MountContext& mount) {
  fuse_entry_param answer{};
  answer.ino = entry.node;
  answer.attr = entry.attr;
  answer.attr_timeout = attribute_seconds(entry.attr, mount);
  answer.entry_timeout = name_seconds(mount);
  return answer;
}

fuse_file_info opened_info() {
  fuse_file_info info{};
  info.keep_cache = 1;
  info.noflush = 1;
  return info;
}

}  // namespace

std::shared_ptr<Reply> Reply::make(fuse_req* request, MountContext& mount, FrontOp op) {
  return std::make_shared<Reply>(request, mount, op);
}

Reply::Reply(fuse_req* request, MountContext& mount, FrontOp op) : mount_(mount), op_(op), request_(request) {
  mount_.replies.opened();
}

Reply::~Reply() {
  RSYNCFS_CHECK(request_ == nullptr);
  mount_.replies.closed();
}

void Reply::park(RequestId waiting) {
  if (waiting == 0) return;
  bool interrupted = false;
  {
    const std::lock_guard lock(mutex_);
    if (request_ == nullptr) return;
    waiting_.store(waiting);
    parked_ = true;
    ring_number_ = ring_number(request_);
    interrupted = mount_.replies.parked(waiting, ring_number_);
    fuse_req_interrupt_func(request_, &Reply::on_interrupt, this);
  }
  if (interrupted) mount_.tree.cancel(waiting);
}

// `self` is alive: take() unregisters this callback, and waits while it runs, before the request is answered.
void Reply::on_interrupt(fuse_req* /*request*/, void* self) {
  Reply& reply = *static_cast<Reply*>(self);
  reply.mount_.count(FrontOp::kInterrupt);
  reply.mount_.tree.cancel(reply.waiting_.load());
}

fuse_req* Reply::take() {
  fuse_req* request = nullptr;
  bool parked = false;
  {
    const std::lock_guard lock(mutex_);
    RSYNCFS_CHECK(request_ != nullptr);
    request = std::exchange(request_, nullptr);
    parked = parked_;
  }
  mount_.latencies[static_cast<size_t>(op_)].note(std::chrono::steady_clock::now() - began_);
  if (parked) {
    fuse_req_interrupt_func(request, nullptr, nullptr);
    mount_.replies.unparked(waiting_.load(), ring_number_);
  }
  return request;
}

void Reply::fail(const Error& error) {
  fail(errno_of(error));
}

void Reply::fail(int error_number) {
  if (is_failure(error_number)) mount_.replies.failed(error_number);
  fuse_reply_err(take(), error_number);
}

void Reply::entry(const Entry& entry) {
  give(entry, name_seconds(mount_));
}

void Reply::passing_entry(const Entry& entry) {
  give(entry, 0);
}

void Reply::give(const Entry& entry, double name_seconds) {
  fuse_entry_param answer = packed(entry, mount_);
  answer.entry_timeout = name_seconds;
  // Not delivered (the asker was interrupted): the kernel does not know that it holds the node.
  if (fuse_reply_entry(take(), &answer) != 0 && entry.node != 0) mount_.tree.forget(entry.node, 1);
}

void Reply::created(const Entry& entry) {
  const fuse_entry_param answer = packed(entry, mount_);
  const fuse_file_info info = opened_info();
  // A file that came by in this moment: the kernel looks for the name once more, and opens what it finds.
  if (mount_.backing.open(entry.node, O_RDWR).kind != OpenKind::kCached) {
    mount_.backing.close(entry.node);
    mount_.tree.forget(entry.node, 1);
    return fail(ESTALE);
  }
  if (fuse_reply_create(take(), &answer, &info) != 0) {
    mount_.backing.close(entry.node);
    mount_.tree.forget(entry.node, 1);
  }
}

void Reply::attributes(const struct stat& attr) {
  fuse_reply_attr(take(), &attr, attribute_seconds(attr, mount_));
}

void Reply::link(const std::string& target) {
  fuse_reply_readlink(take(), target.c_str());
}

void Reply::opened_directory() {
  fuse_file_info info{};
  info.cache_readdir = 1;
  info.keep_cache = 1;
  fuse_reply_open(take(), &info);
}

namespace {

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
int reply_backed(fuse_req_t request, const OpenedFile& opened) {
  fuse_file_info info{};
  info.fh = static_cast<uint64_t>(opened.kind);
  info.backing_id = opened.backing;
  info.direct_io = opened.kind == OpenKind::kBacked ? 0 : 1;
  info.noflush = opened.kind == OpenKind::kMapper ? 0 : 1;
  return fuse_reply_open(request, &info);
}
#else
// What this libfuse has no name for, as protocol 7.40 has it.
struct BackedOpen {
  uint64_t handle = 0;
  uint32_t flags = 0;
  int32_t backing = 0;
};
constexpr uint32_t kDirectIo = 1U << 0;
constexpr uint32_t kNoFlush = 1U << 5;
constexpr uint32_t kPassthrough = 1U << 7;

int reply_backed(fuse_req_t request, const OpenedFile& opened) {
  BackedOpen answer;
  answer.handle = static_cast<uint64_t>(opened.kind);
  answer.flags = kPassthrough;
  if (opened.kind != OpenKind::kBacked) answer.flags |= kDirectIo;
  if (opened.kind != OpenKind::kMapper) answer.flags |= kNoFlush;
  answer.backing = opened.backing;
  return fuse_reply_buf(request, reinterpret_cast<const char*>(&answer), sizeof answer);
}
#endif

}  // namespace

// The page cache is not kept where there is a backing file: it would be stale when that is gone.
void Reply::opened_file(NodeId node, const OpenedFile& opened) {
  int failed = 0;
  if (opened.kind == OpenKind::kCached) {
    const fuse_file_info info = opened_info();
    failed = fuse_reply_open(take(), &info);
  } else {
    failed = reply_backed(take(), opened);
  }
  // Not delivered: the kernel will not close it.
  if (failed != 0) mount_.backing.close(node);
}

bool Reply::bytes(std::span<const std::byte> data) {
  return fuse_reply_buf(take(), reinterpret_cast<const char*>(data.data()), data.size()) != -EFAULT;
}

bool Reply::listing(std::span<const char> packed) {
  return fuse_reply_buf(take(), packed.data(), packed.size()) == 0;
}

void Reply::written(uint64_t bytes) {
  fuse_reply_write(take(), bytes);
}

void Reply::xattr_size(uint64_t size) {
  fuse_reply_xattr(take(), size);
}

void Reply::position(uint64_t offset) {
  fuse_reply_lseek(take(), static_cast<off_t>(offset));
}

void Reply::file_system(const struct statvfs& answer) {
  fuse_reply_statfs(take(), &answer);
}

void Reply::done() {
  fuse_reply_err(take(), 0);
}

void Reply::none() {
  fuse_reply_none(take());
}

}  // namespace rsyncfs
