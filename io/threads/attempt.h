// SPDX-License-Identifier: GPL-3.0-or-later
// One attempt at a socket or pipe operation that never waits, whatever the descriptor's O_NONBLOCK says.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace rsyncfs::attempt {

// All return what was done (bytes, a descriptor, 0), or -errno; -EAGAIN: it would have to wait. SIGPIPE must
// be blocked.
int64_t recv(int fd, std::span<std::byte> buffer);
int64_t send(int fd, std::span<const iovec> data);
int64_t accept(int fd);
int64_t poll_readable(int fd);
// Begins; -EAGAIN: under way, connected() tells the outcome once the socket is writable.
int64_t connect(int fd, const sockaddr* address, socklen_t length);
int64_t connected(int fd);

}  // namespace rsyncfs::attempt
