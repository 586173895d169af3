// SPDX-License-Identifier: GPL-3.0-or-later
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>

#include "io/base/unique_fd.h"
#include "sync/transport/connect.h"

namespace rsyncfs {

namespace {

// An address that does not answer holds up the next one for no longer than this (RFC 8305).
constexpr std::chrono::milliseconds kNextAddressDelay{250};

// Of 64 KiB; so many fit well.
constexpr uint32_t kLoopbackSegments = 256 * 1024;

void tune(int fd, const TcpOptions& options, uint32_t unread_bytes) {
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
  for (const SocketOption& option : options.sockopts)
    (void)::setsockopt(fd, option.level, option.name, &option.value, sizeof option.value);
  // Before it is connected: what was announced once cannot be taken back.
  const auto buffer = static_cast<int>(unread_bytes);
  if (buffer == 0) return;
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  if (unread_bytes >= kLoopbackSegments) return;
  // Segments of loopback do not fit into it, and then wait for timers.
  const int segment = 1448;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
}

// The attempt's state outlives the handle while a connect is under way.
struct TcpState : std::enable_shared_from_this<TcpState> {
  TcpState(Loop& l, Resolver& r, const TcpOptions& o, std::chrono::milliseconds time, StreamDone d,
           uint32_t unread)
      : loop(l),
        resolver(r),
        options(o),
        limit(time),
        done(std::move(d)),
        unread_bytes(unread == 0 || o.unread_bytes == 0 ? std::max(unread, o.unread_bytes)
                                                        : std::min(unread, o.unread_bytes)) {}

  void start() {
    limit_timer = loop.run_after(limit, [self = shared_from_this()] {
      self->limit_timer = 0;
      self->time_out();
    });
    look_up = resolver.resolve([self = shared_from_this()](const Result<Addresses>& found) {
      self->look_up = 0;
      self->found(found);
    });
  }

  void found(const Result<Addresses>& result) {
    if (!result) return finish(result.error());
    const sa_family_t family = options.from ? options.from->storage.ss_family : options.family;
    std::ranges::copy_if(*result, std::back_inserter(addresses), [family](const Address& address) {
      return family == AF_UNSPEC || address.storage.ss_family == family;
    });
    if (addresses.empty() && !result->empty()) {
      last_error = Error(Errc::kUnreachable, "host '" + resolver.host() + "' has no IPv" +
                                                 (family == AF_INET ? "4" : "6") + " address, which " +
                                                 (options.from ? "address=" : "ipv4 or ipv6") + " asks for")
                       .with_errno(EHOSTUNREACH);
    }
    // By half of the limit each of them has had its turn.
    const auto turns = static_cast<int64_t>(addresses.size()) * 2 + 1;
    delay = std::min<std::chrono::nanoseconds>(kNextAddressDelay, std::chrono::nanoseconds(limit) / turns);
    try_next();
  }

  void try_next() {
    while (next < addresses.size()) {
      const Address& address = addresses[next++];
      UniqueFd socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!socket) {
        last_error = Error::os(errno, "socket");
        continue;
      }
      if (!bind_to_ours(socket.get())) continue;
      begin_connect(address, std::move(socket));
      return;
    }
    if (under_way.empty()) finish(last_error);
  }

  bool bind_to_ours(int fd) {
    if (!options.from) return true;
    const auto* from = reinterpret_cast<const sockaddr*>(&options.from->storage);  // NOLINT
    if (::bind(fd, from, options.from->length) == 0) return true;
    last_error = Error(Errc::kUnreachable,
                       std::string("cannot connect from address= of this machine: ") + std::strerror(errno))
                     .with_errno(EADDRNOTAVAIL);
    return false;
  }

  void begin_connect(const Address& address, UniqueFd socket) {
    const int fd = socket.get();
    tune(fd, options, unread_bytes);
    under_way[fd] = loop.connect(
        fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length,  // NOLINT
        [self = shared_from_this(), socket = std::move(socket)](const Result<size_t>& result) mutable {
          self->connected(std::move(socket), result);
        });
    if (next == addresses.size()) return;
    next_timer = loop.run_after(delay, [self = shared_from_this()] {
      self->next_timer = 0;
      self->try_next();
    });
  }

  void connected(UniqueFd socket, const Result<size_t>& result) {
    under_way.erase(socket.get());
    if (!done) return;
    if (result) {
      const int fd = socket.release();
      auto stream = std::make_unique<Stream>(loop, fd, fd, nullptr);
      stream->keep_unread_below(options.unread_bytes);
      return finish(std::move(stream));
    }
    const int err = result.error().os_errno();
    last_error = Error(Errc::kUnreachable, "cannot connect to " + target() + ": " + std::strerror(err))
                     .with_errno(err);
    stop_timer(next_timer);
    try_next();
  }

  void time_out() {
    const std::string waited =
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count()) + " s";
    const std::string what = look_up != 0
                                 ? "cannot find host '" + resolver.host() + "': no name server answers"
                                 : "cannot connect to " + target() + ": no answer";
    finish(Error(Errc::kTimedOut, what + " within " + waited).with_errno(ETIMEDOUT));
  }

  void finish(Result<std::unique_ptr<Stream>> result) {
    if (!done) return;
    StreamDone call = std::move(done);
    give_up();
    call(std::move(result));
  }

  void give_up() {
    done = nullptr;
    if (look_up != 0) resolver.cancel(std::exchange(look_up, 0));
    stop_timer(limit_timer);
    stop_timer(next_timer);
    for (const auto& [fd, op] : under_way) loop.cancel(op);
  }

  void stop_timer(TimerId& timer) {
    if (timer != 0) loop.cancel_timer(std::exchange(timer, 0));
  }

  std::string target() const { return resolver.host() + ":" + std::to_string(resolver.port()); }

  Loop& loop;
  Resolver& resolver;
  const TcpOptions& options;
  const std::chrono::milliseconds limit;
  StreamDone done;
  const uint32_t unread_bytes;
  Resolver::Request look_up = 0;
  TimerId limit_timer = 0;
  TimerId next_timer = 0;
  Addresses addresses;
  size_t next = 0;  // of addresses
  std::chrono::nanoseconds delay{0};
  std::map<int, OpId> under_way;  // by the descriptor, which its completion owns
  Error last_error{Errc::kUnreachable, "the host has no address"};
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

std::unique_ptr<ConnectAttempt> connect_tcp(Loop& loop, Resolver& resolver, const TcpOptions& options,
                                            std::chrono::milliseconds limit, StreamDone done,
                                            uint32_t unread_bytes) {
  auto state = std::make_shared<TcpState>(loop, resolver, options, limit, std::move(done), unread_bytes);
  state->start();
  return std::make_unique<TcpAttempt>(std::move(state));
}

}  // namespace rsyncfs
