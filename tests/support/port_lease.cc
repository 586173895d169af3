// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/port_lease.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <string>

#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

template <class Call>
bool with_socket(uint16_t port, Call call) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(port);
  const bool ok = call(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return ok;
}

int lock_port(uint16_t port) {
  const std::string dir = "/tmp/rsyncfs-test-ports-" + std::to_string(getuid());
  mkdir(dir.c_str(), 0700);
  const std::string path = dir + "/" + std::to_string(port);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

}  // namespace

PortLease::PortLease() {
  constexpr int kAttempts = 1000;
  std::random_device random;
  std::uniform_int_distribution<int> choice(20000, 31999);
  for (int i = 0; i < kAttempts; ++i) {
    port_ = static_cast<uint16_t>(choice(random));
    lock_fd_ = lock_port(port_);
    if (lock_fd_ < 0) continue;
    if (with_socket(port_, [](auto... args) { return bind(args...); })) return;
    close(lock_fd_);
  }
  fail_setup("no free port found");
}

PortLease::~PortLease() {
  close(lock_fd_);
}

bool is_listening(uint16_t port) {
  return with_socket(port, [](auto... args) { return connect(args...); });
}

}  // namespace rsyncfs::support
