// SPDX-License-Identifier: GPL-3.0-or-later
// How one operation goes on after the answers a kernel may give, most of which cannot be provoked at will.
#include "io/uring/uring_op.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "tests/io/loop_fixture.h"

namespace rsyncfs::test {
namespace {

io_uring_sqe prepared(UringOp& op) {
  io_uring_sqe sqe{};
  op.prepare(&sqe);
  return sqe;
}

uint64_t address_of(const void* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}

TEST(UringOp, AShortReadGoesOn) {
  std::string buffer(1000, '.');
  UringOp op(IoOp::kRead, 7, nullptr);
  op.set_buffer(writable(buffer));
  op.set_offset(5000);
  io_uring_sqe sqe = prepared(op);
  EXPECT_EQ(sqe.opcode, IORING_OP_READ);
  EXPECT_EQ(sqe.fd, 7);
  EXPECT_EQ(sqe.off, 5000U);
  EXPECT_EQ(sqe.len, 1000U);
  EXPECT_EQ(op.completed(300), std::nullopt);
  sqe = prepared(op);
  EXPECT_EQ(sqe.off, 5300U);
  EXPECT_EQ(sqe.len, 700U);
  EXPECT_EQ(sqe.addr, address_of(buffer.data() + 300));
  EXPECT_EQ(op.completed(-EINTR), std::nullopt);
  EXPECT_EQ(op.completed(-EAGAIN), std::nullopt);
  EXPECT_NE(prepared(op).flags & IOSQE_ASYNC, 0);
  EXPECT_EQ(op.completed(699), std::nullopt);
  EXPECT_EQ(op.completed(1), 1000);
}

TEST(UringOp, AReadEndsAtTheEndOfFileOrBeforeAnError) {
  std::string buffer(1000, '.');
  UringOp at_end(IoOp::kRead, 7, nullptr);
  at_end.set_buffer(writable(buffer));
  EXPECT_EQ(at_end.completed(300), std::nullopt);
  EXPECT_EQ(at_end.completed(0), 300);
  UringOp broken(IoOp::kRead, 7, nullptr);
  broken.set_buffer(writable(buffer));
  EXPECT_EQ(broken.completed(300), std::nullopt);
  EXPECT_EQ(broken.completed(-EIO), 300);
  UringOp broken_at_once(IoOp::kRead, 7, nullptr);
  broken_at_once.set_buffer(writable(buffer));
  EXPECT_EQ(broken_at_once.completed(-EIO), -EIO);
}

TEST(UringOp, AShortWriteGoesOn) {
  const std::string text(1000, 'w');
  UringOp op(IoOp::kWrite, 7, nullptr);
  op.set_buffer(readable(text));
  EXPECT_EQ(op.completed(1), std::nullopt);
  const io_uring_sqe sqe = prepared(op);
  EXPECT_EQ(sqe.opcode, IORING_OP_WRITE);
  EXPECT_EQ(sqe.off, 1U);
  EXPECT_EQ(sqe.len, 999U);
  EXPECT_EQ(op.completed(999), 1000);
}

TEST(UringOp, APipeIsReadAsAFile) {
  std::string buffer(10, '.');
  UringOp op(IoOp::kRecv, 7, nullptr);
  op.set_buffer(writable(buffer));
  EXPECT_EQ(prepared(op).opcode, IORING_OP_RECV);
  EXPECT_EQ(op.completed(-ENOTSOCK), std::nullopt);
  EXPECT_EQ(prepared(op).opcode, IORING_OP_READ);
  EXPECT_EQ(prepared(op).off, static_cast<uint64_t>(-1));
  EXPECT_EQ(op.completed(-EAGAIN), std::nullopt);  // O_NONBLOCK
  io_uring_sqe sqe = prepared(op);
  EXPECT_EQ(sqe.opcode, IORING_OP_POLL_ADD);
  EXPECT_EQ(sqe.poll32_events, static_cast<uint32_t>(POLLIN));
  EXPECT_EQ(op.completed(POLLIN), std::nullopt);
  EXPECT_EQ(prepared(op).opcode, IORING_OP_READ);
  EXPECT_EQ(op.completed(3), 3);
}

TEST(UringOp, APipeIsWrittenAsAFile) {
  const std::array parts = {part("ab"), part("c")};
  UringOp op(IoOp::kSend, 7, nullptr);
  op.set_parts(parts);
  EXPECT_EQ(prepared(op).opcode, IORING_OP_SENDMSG);
  EXPECT_EQ(op.completed(-ENOTSOCK), std::nullopt);
  EXPECT_EQ(prepared(op).opcode, IORING_OP_WRITEV);
  EXPECT_EQ(prepared(op).len, 2U);
  EXPECT_EQ(op.completed(-EAGAIN), std::nullopt);
  EXPECT_EQ(prepared(op).poll32_events, static_cast<uint32_t>(POLLOUT));
  EXPECT_EQ(op.completed(-ECANCELED), -ECANCELED);
}

TEST(UringOp, AConnectionIsWaitedForAndAsked) {
  const FdPair pair = make_socketpair();
  const sockaddr address{};
  for (const int answer : {-EINPROGRESS, -EINTR}) {
    UringOp op(IoOp::kConnect, pair.first.get(), nullptr);
    op.set_address(&address, sizeof address);
    EXPECT_EQ(prepared(op).opcode, IORING_OP_CONNECT);
    EXPECT_EQ(op.completed(answer), std::nullopt);
    EXPECT_EQ(prepared(op).opcode, IORING_OP_POLL_ADD);
    EXPECT_EQ(op.completed(POLLOUT), 0);
  }
  UringOp refused(IoOp::kConnect, pair.first.get(), nullptr);
  EXPECT_EQ(refused.completed(-ECONNREFUSED), -ECONNREFUSED);
}

TEST(UringOp, ACancelledOneDoesNotStartAgain) {
  std::string buffer(10, '.');
  UringOp op(IoOp::kRecv, 7, nullptr);
  op.set_buffer(writable(buffer));
  op.cancelled = true;
  EXPECT_EQ(op.completed(-EINTR), -ECANCELED);
  EXPECT_EQ(op.completed(-EAGAIN), -ECANCELED);
  EXPECT_EQ(op.completed(5), 5);  // too late
}

TEST(UringOp, PollOutcomes) {
  UringOp op(IoOp::kPoll, 7, nullptr);
  EXPECT_EQ(prepared(op).opcode, IORING_OP_POLL_ADD);
  EXPECT_EQ(op.completed(POLLIN), 0);
  EXPECT_EQ(op.completed(POLLHUP), 0);
  EXPECT_EQ(op.completed(POLLNVAL), -EBADF);
  EXPECT_EQ(op.completed(-EBADF), -EBADF);
}

}  // namespace
}  // namespace rsyncfs::test
