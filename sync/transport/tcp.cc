// SPDX-License-Identifier: GPL-3.0-or-later
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "sync/transport/connect.h"

namespace rsyncfs {

namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// An address list longer than this is cut: a hostile name server must not keep us busy.
constexpr size_t kMaxAddresses = 16;

Result<std::deque<Address>> resolve(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (rc == EAI_NONAME || rc == EAI_ADDRFAMILY || rc == EAI_NODATA) {
    hints.ai_flags = 0;  // AI_ADDRCONFIG hides ::1 and 127.0.0.1 on a host without any network
    rc = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  }
  if (rc != 0) {
    return Error(Errc::kUnreachable, "cannot find host '" + host + "': " + ::gai_strerror(rc))
        .with_errno(EHOSTUNREACH);
  }
  std::deque<Address> out;
  for (const addrinfo* a = found; a != nullptr && out.size() < kMaxAddresses; a = a->ai_next) {
    Address address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.length = a->ai_addrlen;
    out.push_back(address);
  }
  ::freeaddrinfo(found);
  return out;
}

void tune(int fd) {
  const int on = 1;
  const int idle_s = 20;
  const int interval_s = 5;
  const int probes = 6;
  // Best effort: a socket without these works, only later to notice a dead peer.
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

// The attempt's state outlives the handle while a name lookup or a connect is under way.
struct TcpState : std::enable_shared_from_this<TcpState> {
  TcpState(Loop& l, std::string h, uint16_t p, StreamDone d)
      : loop(l), host(std::move(h)), port(p), done(std::move(d)) {}

  std::string target() const { return host + ":" + std::to_string(port); }

  void finish(Result<std::unique_ptr<Stream>> result) {
    if (!done) return;
    if (timer != 0) loop.cancel_timer(timer);
    StreamDone call = std::move(done);
    done = nullptr;
    call(std::move(result));
  }

  void try_next(Error last) {
    if (!done) return;
    if (addresses.empty()) {
      finish(std::move(last));
      return;
    }
    const Address address = addresses.front();
    addresses.pop_front();
    fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      try_next(Error::os(errno, "socket"));
      return;
    }
    tune(fd);
    op = loop.connect(
        fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length,  // NOLINT
        [self = shared_from_this()](Result<size_t> result) { self->connected(std::move(result)); });
  }

  void connected(Result<size_t> result) {
    op = 0;
    const int socket = std::exchange(fd, -1);
    if (!done) {
      ::close(socket);
      return;
    }
    if (!result) {
      ::close(socket);
      const int err = result.error().os_errno();
      try_next(Error(Errc::kUnreachable, "cannot connect to " + target() + ": " + std::strerror(err))
                   .with_errno(err));
      return;
    }
    finish(std::make_unique<Stream>(loop, socket, socket, nullptr));
  }

  void give_up() {
    done = nullptr;
    if (timer != 0) loop.cancel_timer(timer);
    if (op != 0) loop.cancel(op);
  }

  Loop& loop;
  const std::string host;
  const uint16_t port;
  StreamDone done;
  std::deque<Address> addresses;
  TimerId timer = 0;
  OpId op = 0;
  int fd = -1;
};

class TcpAttempt final : public ConnectAttempt {
 public:
  explicit TcpAttempt(std::shared_ptr<TcpState> state) : state_(std::move(state)) {}
  ~TcpAttempt() override { state_->give_up(); }
  TcpAttempt(const TcpAttempt&) = delete;
  TcpAttempt& operator=(const TcpAttempt&) = delete;

 private:
  std::shared_ptr<TcpState> state_;
};

}  // namespace

std::unique_ptr<ConnectAttempt> connect_tcp(Loop& loop, Executor& executor, std::string host, uint16_t port,
                                            std::chrono::milliseconds limit, StreamDone done) {
  auto state = std::make_shared<TcpState>(loop, std::move(host), port, std::move(done));
  state->timer = loop.run_after(limit, [state, limit] {
    state->timer = 0;
    const std::string waited =
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count());
    if (state->op != 0) state->loop.cancel(state->op);
    state->finish(
        Error(Errc::kTimedOut, "cannot connect to " + state->target() + ": no answer within " + waited + " s")
            .with_errno(ETIMEDOUT));
  });
  executor.submit([state] {
    auto found = resolve(state->host, state->port);
    state->loop.post([state, found = std::move(found)]() mutable {
      if (!found) {
        state->finish(found.error());
        return;
      }
      state->addresses = std::move(*found);
      state->try_next(
          Error(Errc::kUnreachable, "host '" + state->host + "' has no address").with_errno(EHOSTUNREACH));
    });
  });
  return std::make_unique<TcpAttempt>(std::move(state));
}

}  // namespace rsyncfs
