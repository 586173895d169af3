// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/fs/fake_kernel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>
#include <vector>

#include "tests/support/setup_failure.h"

namespace rsyncfs::testing {
namespace {

constexpr size_t kMaxReplyBytes = 256 * 1024;
// What a kernel of today offers, as far as it matters to us.
constexpr uint32_t kOffered = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT |
                              FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE |
                              FUSE_SPLICE_READ | FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR |
                              FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
                              FUSE_ASYNC_DIO | FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT |
                              FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV | FUSE_POSIX_ACL | FUSE_MAX_PAGES |
                              FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT | FUSE_EXPLICIT_INVAL_DATA;

}  // namespace

FakeKernel::FakeKernel(Tree& tree, FrontOptions options) : context_(tree, notifier_, std::move(options)) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    support::fail_setup_errno("socketpair");
  }
  fd_ = ends[0];
  auto session = Session::create(context_);
  if (!session) support::fail_setup(session.error().message());
  session_ = std::move(*session);
  if (const auto used = session_->use_channel(ends[1]); !used) support::fail_setup(used.error().message());
  workers_ = std::make_unique<WorkerPool>(
      *session_, context_.options.workers, [] {}, [] {});
  fuse_init_in body{};
  body.major = FUSE_KERNEL_VERSION;
  body.minor = 38;
  body.max_readahead = 131072;
  body.flags = kOffered;
  send(FUSE_INIT, 0, body);
  const auto reply = receive();
  if (!reply || reply->error != 0) support::fail_setup("FUSE_INIT was not answered");
  init_ = reply->as<fuse_init_out>();
}

FakeKernel::~FakeKernel() {
  workers_.reset();
  for (const RequestId request : context_.replies.parked_now()) context_.tree.cancel(request);
  context_.replies.wait_none_open(std::chrono::seconds(10));
  session_.reset();
  ::close(fd_);
}

uint64_t FakeKernel::send(uint32_t opcode, NodeId node, std::string_view body) {
  fuse_in_header header{};
  header.len = static_cast<uint32_t>(sizeof header + body.size());
  header.opcode = opcode;
  header.unique = next_;
  header.nodeid = node;
  next_ += 2;
  std::string message(reinterpret_cast<const char*>(&header), sizeof header);
  message += body;
  if (::send(fd_, message.data(), message.size(), MSG_NOSIGNAL) < 0) support::fail_setup_errno("send");
  return header.unique;
}

uint64_t FakeKernel::interrupt(uint64_t unique) {
  fuse_interrupt_in body{};
  body.unique = unique;
  return send(FUSE_INTERRUPT, 0, body);
}

std::optional<FakeReply> FakeKernel::receive(int limit_ms) {
  pollfd waiting{fd_, POLLIN, 0};
  if (::poll(&waiting, 1, limit_ms) <= 0) return std::nullopt;
  std::vector<char> buffer(kMaxReplyBytes);
  const ssize_t n = ::recv(fd_, buffer.data(), buffer.size(), 0);
  if (n < static_cast<ssize_t>(sizeof(fuse_out_header))) return std::nullopt;
  fuse_out_header header{};
  std::string_view(buffer.data(), sizeof header).copy(reinterpret_cast<char*>(&header), sizeof header);
  FakeReply reply;
  reply.unique = header.unique;
  reply.error = -header.error;
  reply.payload.assign(buffer.data() + sizeof header, static_cast<size_t>(n) - sizeof header);
  return reply;
}

FakeReply FakeKernel::call(uint32_t opcode, NodeId node, std::string_view body) {
  const uint64_t unique = send(opcode, node, body);
  const auto reply = receive();
  if (!reply || reply->unique != unique) support::fail_setup("no reply, or to another request");
  return *reply;
}

uint64_t FakeKernel::read(NodeId file, uint64_t offset, uint32_t size) {
  fuse_read_in body{};
  body.offset = offset;
  body.size = size;
  return send(FUSE_READ, file, body);
}

}  // namespace rsyncfs::testing
