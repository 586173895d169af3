// SPDX-License-Identifier: GPL-3.0-or-later
// Stands between clients and a server on loopback and counts what goes through: connections, and bytes each
// way.
//   counting_proxy PORT SERVER_PORT COUNTS_PORT
// Whoever connects to COUNTS_PORT gets "CONNECTIONS BYTES_TO_SERVER BYTES_FROM_SERVER OPEN" as one line.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

constexpr size_t kPieceBytes = 256 * 1024;
constexpr int kBacklog = 128;

struct Counts {
  std::atomic<uint64_t> connections{0};
  std::atomic<uint64_t> to_server{0};
  std::atomic<uint64_t> from_server{0};
  std::atomic<uint64_t> open{0};
};

sockaddr_in loopback(uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

UniqueFd listen_at(uint16_t port) {
  UniqueFd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(out.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(port);
  if (::bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("bind");
  if (::listen(out.get(), kBacklog) != 0) fail("listen");
  return out;
}

bool write_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(fd, data, size);
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

// Until one side has no more to say, or the other takes no more.
void pass_on(int from, int to, std::atomic<uint64_t>& count) {
  std::string piece(kPieceBytes, '\0');
  ssize_t got = 0;
  while ((got = ::read(from, piece.data(), piece.size())) > 0) {
    count += static_cast<uint64_t>(got);
    if (!write_all(to, piece.data(), static_cast<size_t>(got))) break;
  }
  ::shutdown(to, SHUT_WR);
  ::shutdown(from, SHUT_RD);
}

void serve(const UniqueFd& client, uint16_t server_port, Counts& counts) {
  const UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(server_port);
  if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
  const int on = 1;
  for (const int fd : {client.get(), server.get()})
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::thread back([&] { pass_on(server.get(), client.get(), counts.from_server); });
  pass_on(client.get(), server.get(), counts.to_server);
  back.join();
}

void tell(const UniqueFd& listener, const Counts& counts) {
  while (true) {
    const UniqueFd asker(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (asker.get() < 0) continue;
    std::string line = std::to_string(counts.connections);
    for (const uint64_t number : {counts.to_server.load(), counts.from_server.load(), counts.open.load()})
      line += ' ' + std::to_string(number);
    line += '\n';
    write_all(asker.get(), line.data(), line.size());
  }
}

int run(uint16_t port, uint16_t server_port, uint16_t counts_port) {
  std::signal(SIGPIPE, SIG_IGN);
  static Counts counts;
  const UniqueFd listener = listen_at(port);
  const UniqueFd asked = listen_at(counts_port);
  std::thread([&asked] { tell(asked, counts); }).detach();
  while (true) {
    auto client = std::make_unique<UniqueFd>(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client->get() < 0) continue;
    ++counts.connections;
    ++counts.open;
    std::thread([client = std::move(client), server_port] {
      serve(*client, server_port, counts);
      --counts.open;
    }).detach();
  }
}

}  // namespace
}  // namespace rsyncfs

int main(int argc, char** argv) {
  std::array<uint16_t, 3> ports{};
  for (size_t i = 0; i < ports.size() && static_cast<int>(i) + 1 < argc; ++i)
    ports[i] = static_cast<uint16_t>(std::atoi(argv[i + 1]));
  if (ports[2] == 0) {
    std::fputs("usage: counting_proxy PORT SERVER_PORT COUNTS_PORT\n", stderr);
    return 2;
  }
  return rsyncfs::run(ports[0], ports[1], ports[2]);
}
