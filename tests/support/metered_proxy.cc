// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/metered_proxy.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

constexpr size_t kPieceBytes = 16 * 1024;  // relayed at once
constexpr int kBacklog = 64;

sockaddr_in loopback(uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

int make_socket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_setup_errno("socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

bool send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

}  // namespace

struct MeteredProxy::Pair {
  int client = -1;
  int server = -1;
  bool over = false;
  ~Pair() {
    close(client);
    close(server);
  }
};

MeteredProxy::MeteredProxy(uint16_t server_port) : server_port_(server_port) {
  listener_ = make_socket();
  const sockaddr_in address = loopback(port());
  if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||  // NOLINT: sockets
      listen(listener_, kBacklog) != 0)
    fail_setup_errno("listening for the proxy");
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  thread_ = std::thread([this] { run(); });
}

MeteredProxy::~MeteredProxy() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake();
  thread_.join();
  pairs_.clear();
  close(listener_);
  close(wake_fd_);
}

void MeteredProxy::wake() const {
  const uint64_t one = 1;
  static_cast<void>(!write(wake_fd_, &one, sizeof one));
}

void MeteredProxy::count() {
  const std::lock_guard lock(mutex_);
  counted_ = 0;
  pieces_.clear();
  recording_ = true;
}

std::vector<uint64_t> MeteredProxy::pieces() const {
  const std::lock_guard lock(mutex_);
  return pieces_;
}

void MeteredProxy::stop_after(uint64_t bytes, std::function<void()> event) {
  {
    const std::lock_guard lock(mutex_);
    counted_ = 0;
    limit_ = bytes;
    event_ = std::move(event);
    recording_ = false;
    stopped_ = false;
  }
  wake();
}

void MeteredProxy::cut() {
  const std::lock_guard lock(mutex_);
  for (Pair& pair : pairs_) {
    pair.over = true;
    shutdown(pair.client, SHUT_RDWR);
    shutdown(pair.server, SHUT_RDWR);
  }
}

void MeteredProxy::release() {
  {
    const std::lock_guard lock(mutex_);
    limit_ = UINT64_MAX;
    event_ = nullptr;
    stopped_ = false;
  }
  wake();
}

void MeteredProxy::reach_limit() {
  stopped_ = true;
  const auto event = std::exchange(event_, nullptr);
  if (event) event();
}

void MeteredProxy::accept_one() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int on = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int server = make_socket();
  const sockaddr_in address = loopback(server_port_);
  if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {  // NOLINT: sockets
    close(client);
    close(server);
    return;
  }
  Pair& pair = pairs_.emplace_back();
  pair.client = client;
  pair.server = server;
}

// False: that side has ended.
bool MeteredProxy::relay(int from, int to) {
  char buffer[kPieceBytes];
  const size_t most = std::min<uint64_t>(sizeof buffer, limit_ - counted_);
  const ssize_t got = recv(from, buffer, most, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0 || !send_all(to, buffer, static_cast<size_t>(got))) return false;
  counted_ += static_cast<uint64_t>(got);
  if (recording_) pieces_.push_back(counted_);
  return true;
}

void MeteredProxy::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    std::vector<pollfd> fds = {{wake_fd_, POLLIN, 0}};
    std::vector<Pair*> polled;
    if (has_room()) {
      fds.push_back({listener_, POLLIN, 0});
      for (Pair& pair : pairs_) {
        fds.push_back({pair.client, POLLIN, 0});
        fds.push_back({pair.server, POLLIN, 0});
        polled.push_back(&pair);
      }
    } else if (!stopped_) {
      reach_limit();
      continue;
    }
    lock.unlock();
    poll(fds.data(), fds.size(), -1);
    lock.lock();
    uint64_t woken = 0;
    static_cast<void>(!read(wake_fd_, &woken, sizeof woken));
    for (size_t i = 0; i < polled.size(); ++i) {
      Pair& pair = *polled[i];
      for (const bool from_client : {true, false}) {
        if (!has_room() || fds[2 + 2 * i + (from_client ? 0 : 1)].revents == 0) continue;
        const int from = from_client ? pair.client : pair.server;
        if (!relay(from, from_client ? pair.server : pair.client)) pair.over = true;
      }
    }
    if (fds.size() > 1 && fds[1].revents != 0 && !stopped_) accept_one();
    pairs_.remove_if([](const Pair& pair) { return pair.over; });
  }
}

}  // namespace rsyncfs::support
