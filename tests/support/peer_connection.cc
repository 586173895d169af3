// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/peer_connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tests/support/setup_failure.h"

namespace rsyncfs::support {

PeerConnection::~PeerConnection() {
  close();
}

void PeerConnection::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::unique_ptr<PeerConnection> PeerConnection::over_tcp(uint16_t port) {
  std::unique_ptr<PeerConnection> connection(new PeerConnection);
  const int fd = connection->fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    fail_setup_errno("connecting to 127.0.0.1:" + std::to_string(port));
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return connection;
}

std::unique_ptr<PeerConnection> PeerConnection::over_pipe(const std::vector<std::string>& argv) {
  std::unique_ptr<PeerConnection> connection(new PeerConnection);
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) fail_setup_errno("socketpair");
  ProcessOptions process;
  process.stdin_fd = fds[1];
  process.stdout_fd = fds[1];
  connection->fd_ = fds[0];
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  connection->server_ = std::make_unique<ChildProcess>(argv, process);
  ::close(fds[1]);
  return connection;
}

Result<void> PeerConnection::send_some(ByteQueue& output) {
  while (!output.empty()) {
    const auto bytes = output.readable();
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    // The peer's last words may still be there to be read.
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
      output.consume(output.size());
      return {};
    }
    if (sent < 0) return Error::os(errno, "send");
    bytes_sent += static_cast<uint64_t>(sent);
    output.consume(static_cast<size_t>(sent));
  }
  return {};
}

Result<void> PeerConnection::receive_some(const SessionCalls& session) {
  std::vector<std::byte> buffer(256 * 1024);
  const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (size <= 0) {
    at_end_ = true;
    return session.end_of_input();
  }
  std::span<const std::byte> data(buffer.data(), static_cast<size_t>(size));
  bytes_received += data.size();
  if (record != nullptr) record->append(reinterpret_cast<const char*>(data.data()), data.size());
  while (!data.empty()) {
    const auto piece = data.first(std::min(data.size(), read_size));
    data = data.subspan(piece.size());
    if (auto received = session.receive(piece); !received.ok()) return received;
  }
  return {};
}

Result<void> PeerConnection::pump_until(const SessionCalls& session, const std::function<bool()>& condition,
                                        std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (at_end_ || fd_ < 0) return Error(Errc::kDisconnected, "the connection has ended");
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Error(Errc::kTimedOut, "the server did not answer in time");
    if (auto sent = send_some(session.output()); !sent.ok()) return sent;
    pollfd poll_fd{fd_, static_cast<short>(session.output().empty() ? POLLIN : POLLIN | POLLOUT), 0};
    poll(&poll_fd, 1, static_cast<int>(left.count()));
    if ((poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    if (auto received = receive_some(session); !received.ok()) return received;
  }
  return send_some(session.output());
}

}  // namespace rsyncfs::support
