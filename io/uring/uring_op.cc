// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/uring/uring_op.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace rsyncfs {

namespace {

// What one submission moves at most; files go on with the rest.
constexpr size_t kMaxTransfer = size_t{1} << 30;
constexpr auto kCurrentPosition = static_cast<uint64_t>(-1);

unsigned transfer_size(size_t size) {
  return static_cast<unsigned>(std::min(size, kMaxTransfer));
}

}  // namespace

void UringOp::set_address(const sockaddr* address, socklen_t length) {
  RSYNCFS_CHECK(length > 0 && length <= sizeof address_);
  std::memcpy(&address_, address, length);
  address_length_ = length;
}

void UringOp::prepare(io_uring_sqe* sqe) {
  if (step_ != Step::kOperation) {
    io_uring_prep_poll_add(sqe, fd_, step_ == Step::kPollIn ? POLLIN : POLLOUT);
    return;
  }
  switch (kind_) {
    case IoOp::kRecv:
      if (not_socket_) {
        io_uring_prep_read(sqe, fd_, in_.data(), transfer_size(in_.size()), kCurrentPosition);
      } else {
        io_uring_prep_recv(sqe, fd_, in_.data(), transfer_size(in_.size()), 0);
      }
      break;
    case IoOp::kSend:
      message_.msg_iov = parts_.data();
      message_.msg_iovlen = parts_.size();
      if (not_socket_) {
        io_uring_prep_writev(sqe, fd_, parts_.data(), static_cast<unsigned>(parts_.size()), kCurrentPosition);
      } else {
        io_uring_prep_sendmsg(sqe, fd_, &message_, MSG_NOSIGNAL);
      }
      break;
    case IoOp::kConnect:
      io_uring_prep_connect(sqe, fd_, reinterpret_cast<const sockaddr*>(&address_), address_length_);
      break;
    case IoOp::kAccept:
      io_uring_prep_accept(sqe, fd_, nullptr, nullptr, SOCK_CLOEXEC);
      break;
    case IoOp::kPoll:
      io_uring_prep_poll_add(sqe, fd_, POLLIN);
      break;
    case IoOp::kRead:
      io_uring_prep_read(sqe, fd_, in_.data(), transfer_size(in_.size()), offset_);
      break;
    case IoOp::kWrite:
      io_uring_prep_write(sqe, fd_, out_.data(), transfer_size(out_.size()), offset_);
      break;
    case IoOp::kFsync:
      io_uring_prep_fsync(sqe, fd_, data_only_ ? IORING_FSYNC_DATASYNC : 0U);
      break;
    case IoOp::kCount:
      RSYNCFS_CHECK(kind_ != IoOp::kCount);
  }
  if (force_async_) sqe->flags |= IOSQE_ASYNC;
}

std::optional<int64_t> UringOp::completed(int result) {
  // A worker that is told to give up in the middle of a system call answers EINTR.
  if (cancelled && (result == -EINTR || result == -EAGAIN)) return -ECANCELED;
  if (result == -EINTR && kind_ != IoOp::kConnect) return std::nullopt;
  if (step_ != Step::kOperation || kind_ == IoOp::kPoll) return polled(result);
  if (kind_ == IoOp::kRead || kind_ == IoOp::kWrite) return file_moved(result);
  if (result == -ENOTSOCK && !not_socket_ && (kind_ == IoOp::kRecv || kind_ == IoOp::kSend)) {
    not_socket_ = true;
    return std::nullopt;
  }
  if (kind_ == IoOp::kConnect) {
    // Interrupted or not, a connection once begun goes on by itself.
    if (result != -EINPROGRESS && result != -EINTR) return result == -EAGAIN ? -ECONNREFUSED : result;
    step_ = Step::kPollOut;
    return std::nullopt;
  }
  // O_NONBLOCK makes the ring give up where it would have waited.
  if (result == -EAGAIN && kind_ != IoOp::kFsync) {
    step_ = is_inward() ? Step::kPollIn : Step::kPollOut;
    return std::nullopt;
  }
  return result;
}

std::optional<int64_t> UringOp::polled(int result) {
  if (result < 0) return result;
  if ((result & POLLNVAL) != 0) return -EBADF;
  if (kind_ == IoOp::kPoll) return 0;
  if (kind_ == IoOp::kConnect) {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return -errno;
    return -error;
  }
  step_ = Step::kOperation;
  return std::nullopt;
}

std::optional<int64_t> UringOp::file_moved(int result) {
  if (result == -EAGAIN) {
    force_async_ = true;
    return std::nullopt;
  }
  // What was moved before an error counts; the error will come back.
  if (result < 0) return moved_ > 0 ? static_cast<int64_t>(moved_) : result;
  const auto size = static_cast<size_t>(result);
  moved_ += size;
  offset_ += size;
  size_t left = 0;
  if (kind_ == IoOp::kRead) {
    in_ = in_.subspan(size);
    left = in_.size();
  } else {
    out_ = out_.subspan(size);
    left = out_.size();
  }
  if (left == 0 || size == 0) return static_cast<int64_t>(moved_);
  return std::nullopt;
}

}  // namespace rsyncfs
