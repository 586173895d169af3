// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/threads/attempt.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace rsyncfs::attempt {

namespace {

int64_t or_errno(int64_t result) {
  return result >= 0 ? result : -errno;
}

template <class Call>
int64_t retried(Call call) {
  while (true) {
    const int64_t result = or_errno(call());
    if (result != -EINTR) return result;
  }
}

// 0 when `fd` is ready for `events`, or broken in a way that the operation itself will name.
int64_t ready(int fd, short events) {
  pollfd entry{fd, events, 0};
  const int64_t count = retried([&] { return ::poll(&entry, 1, 0); });
  if (count < 0) return count;
  if (count == 0) return -EAGAIN;
  return (entry.revents & POLLNVAL) != 0 ? -EBADF : 0;
}

// RWF_NOWAIT says no for this kind of file or this kernel; poll() has to do.
bool cannot_nowait(int64_t result) {
  return result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL;
}

int64_t read_pipe(int fd, std::span<std::byte> buffer) {
  const iovec part{buffer.data(), buffer.size()};
  const int64_t result = retried([&] { return ::preadv2(fd, &part, 1, -1, RWF_NOWAIT); });
  if (!cannot_nowait(result)) return result;
  if (const int64_t state = ready(fd, POLLIN); state < 0) return state;
  return retried([&] { return ::read(fd, buffer.data(), buffer.size()); });
}

int64_t write_pipe(int fd, std::span<const iovec> data) {
  const auto count = static_cast<int>(data.size());
  const int64_t result = retried([&] { return ::pwritev2(fd, data.data(), count, -1, RWF_NOWAIT); });
  if (!cannot_nowait(result)) return result;
  if (const int64_t state = ready(fd, POLLOUT); state < 0) return state;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) != 0) {
    return retried([&] { return ::writev(fd, data.data(), count); });
  }
  // A writable pipe promises room for PIPE_BUF bytes; a blocking write of more would wait for the reader.
  const auto part = std::find_if(data.begin(), data.end(), [](const iovec& v) { return v.iov_len > 0; });
  if (part == data.end()) return 0;
  return retried([&] { return ::write(fd, part->iov_base, std::min<size_t>(part->iov_len, PIPE_BUF)); });
}

}  // namespace

int64_t recv(int fd, std::span<std::byte> buffer) {
  const int64_t result = retried([&] { return ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT); });
  return result == -ENOTSOCK ? read_pipe(fd, buffer) : result;
}

int64_t send(int fd, std::span<const iovec> data) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(data.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast): C API
  message.msg_iovlen = data.size();
  const int64_t result = retried([&] { return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
  return result == -ENOTSOCK ? write_pipe(fd, data) : result;
}

int64_t accept(int fd) {
  if (const int64_t state = ready(fd, POLLIN); state < 0) return state;
  return retried([&] { return ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC); });
}

int64_t poll_readable(int fd) {
  return ready(fd, POLLIN);
}

int64_t connect(int fd, const sockaddr* address, socklen_t length) {
  // connect() has no per-call "do not wait"; the flag is borrowed for the call on a socket nobody can be
  // using yet.
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  const bool blocking = (flags & O_NONBLOCK) == 0;
  if (blocking && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
  const int64_t result = or_errno(::connect(fd, address, length));
  if (blocking) ::fcntl(fd, F_SETFL, flags);
  // EAGAIN itself is a unix socket's full backlog, which no event announces the end of.
  if (result == -EAGAIN) return -ECONNREFUSED;
  return result == -EINPROGRESS || result == -EINTR ? -EAGAIN : result;
}

int64_t connected(int fd) {
  if (const int64_t state = ready(fd, POLLOUT); state < 0) return state;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return -errno;
  return -error;
}

}  // namespace rsyncfs::attempt
