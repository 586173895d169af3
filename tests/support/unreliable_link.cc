// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/unreliable_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostWaiting = 1 << 20;  // bytes of one direction
constexpr int kBacklog = 64;
constexpr int kLongestWait_ms = 50;

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// One direction of a connection.
struct Flow {
  struct Piece {
    Clock::time_point due;
    std::string bytes;
  };
  std::deque<Piece> waiting;
  size_t bytes = 0;
  bool ended = false;  // the sender has closed

  // The piece that came last.
  void change(const UnreliableLink::Tamper& tamper, bool up) {
    std::string& last = waiting.back().bytes;
    bytes -= last.size();
    tamper(last, up);
    bytes += last.size();
  }
};

}  // namespace

struct UnreliableLink::Pair {
  int client = -1;
  int server = -1;
  // When the handshake would have been over for each: what they say before is said then.
  Clock::time_point client_begins{};
  Clock::time_point server_begins{};
  Flow up;
  Flow down;
  size_t number = 0;  // of all connections
  bool heard = true;  // the client, something since it last spoke

  void close(bool by_reset) {
    for (int* fd : {&client, &server}) {
      if (*fd < 0) continue;
      const linger now{1, 0};
      if (by_reset) ::setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      ::close(std::exchange(*fd, -1));
    }
  }
  void read(int from, Flow& flow, const Weather& weather) {
    const auto said = std::max(Clock::now(), from == client ? client_begins : server_begins);
    std::array<char, 65536> piece{};
    const ssize_t got = ::read(from, piece.data(), piece.size());
    if (got > 0) {
      flow.waiting.push_back({said + weather.delay, std::string(piece.data(), static_cast<size_t>(got))});
      flow.bytes += static_cast<size_t>(got);
    } else if (got == 0) {
      flow.ended = true;
    } else if (errno != EAGAIN && errno != EINTR) {
      flow.ended = true;  // what came before a reset arrives
    }
  }
  // What is due; false: the link is cut short.
  bool write(int to, Flow& flow, Weather& weather) {
    while (!flow.waiting.empty() && flow.waiting.front().due <= Clock::now()) {
      std::string& bytes = flow.waiting.front().bytes;
      const size_t most =
          weather.truncates ? std::min<size_t>(bytes.size(), weather.bytes_left) : bytes.size();
      if (most == 0) return false;
      const ssize_t put = ::send(to, bytes.data(), most, MSG_NOSIGNAL);
      if (put < 0) {
        if (errno == EAGAIN || errno == EINTR) return true;
        flow = {.waiting = {}, .bytes = 0, .ended = true};
        break;
      }
      flow.bytes -= static_cast<size_t>(put);
      if (weather.truncates) weather.bytes_left -= static_cast<uint64_t>(put);
      bytes.erase(0, static_cast<size_t>(put));
      if (bytes.empty()) flow.waiting.pop_front();
    }
    if (flow.ended && flow.waiting.empty()) ::shutdown(to, SHUT_WR);
    return true;
  }
  bool over() const { return up.ended && down.ended && up.waiting.empty() && down.waiting.empty(); }
};

UnreliableLink::UnreliableLink(uint16_t server_port) : server_port_(server_port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(lease_.port());
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, kBacklog) != 0) {
    fail_setup("the relay's port cannot be used");
  }
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  thread_ = std::thread([this] { run(); });
}

UnreliableLink::~UnreliableLink() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake();
  thread_.join();
  for (Pair& pair : pairs_) pair.close(false);
  ::close(listener_);
  ::close(wake_fd_);
}

void UnreliableLink::set(const Weather& weather) {
  {
    const std::lock_guard lock(mutex_);
    weather_ = weather;
  }
  wake();
}

void UnreliableLink::reset() {
  {
    const std::lock_guard lock(mutex_);
    resets_ = true;
  }
  wake();
}

void UnreliableLink::count_flights() {
  const std::lock_guard lock(mutex_);
  std::fill(flights_.begin(), flights_.end(), 0);
}

std::vector<int> UnreliableLink::flights() const {
  const std::lock_guard lock(mutex_);
  return flights_;
}

void UnreliableLink::tamper(Tamper with) {
  const std::lock_guard lock(mutex_);
  tamper_ = std::move(with);
}

void UnreliableLink::note_sent(Pair& pair, size_t before) {
  const std::lock_guard lock(mutex_);
  if (pair.up.bytes == before) return;
  if (std::exchange(pair.heard, false)) ++flights_[pair.number];
  if (tamper_) pair.up.change(tamper_, true);
}

void UnreliableLink::note_answered(Pair& pair, size_t before) {
  const std::lock_guard lock(mutex_);
  if (pair.down.bytes != before && tamper_) pair.down.change(tamper_, false);
}

void UnreliableLink::wake() const {
  const uint64_t one = 1;
  static_cast<void>(!::write(wake_fd_, &one, sizeof one));
}

void UnreliableLink::accept_one(std::chrono::milliseconds one_way) {
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(server_port_);
  if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(server);
    ::close(client);
    return;
  }
  const int on = 1;
  for (const int fd : {client, server}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(server, F_SETFL, ::fcntl(server, F_GETFL) | O_NONBLOCK);
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  pairs_.push_back({.client = client,
                    .server = server,
                    .client_begins = now + 2 * one_way,
                    .server_begins = now + 3 * one_way,
                    .up = {},
                    .down = {},
                    .number = flights_.size()});
  flights_.push_back(0);
}

void UnreliableLink::run() {
  for (;;) {
    Weather weather;
    bool resets = false;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      weather = weather_;
      resets = std::exchange(resets_, false);
    }
    if (resets) {
      for (Pair& pair : pairs_) pair.close(true);
      pairs_.clear();
    }
    std::vector<pollfd> fds{{wake_fd_, POLLIN, 0}};
    if (!weather.frozen) fds.push_back({listener_, POLLIN, 0});
    bool waits = false;
    for (Pair& pair : pairs_) {
      const auto events = [&](const Flow& in, const Flow& out) {
        short wanted = 0;
        if (!weather.stalled && !in.ended && in.bytes < kMostWaiting) wanted |= POLLIN;
        if (!weather.stalled && !out.waiting.empty() && out.waiting.front().due <= Clock::now())
          wanted |= POLLOUT;
        return wanted;
      };
      waits = waits || pair.up.bytes + pair.down.bytes > 0;
      fds.push_back({pair.client, events(pair.up, pair.down), 0});
      fds.push_back({pair.server, events(pair.down, pair.up), 0});
    }
    ::poll(fds.data(), fds.size(), waits && !weather.stalled ? 1 : kLongestWait_ms);
    uint64_t drained = 0;
    static_cast<void>(!::read(wake_fd_, &drained, sizeof drained));
    size_t at = weather.frozen ? 1 : 2;
    bool cut = false;
    for (Pair& pair : pairs_) {
      const short client = fds[at++].revents;
      const short server = fds[at++].revents;
      if (weather.stalled) continue;
      if ((client & (POLLIN | POLLHUP | POLLERR)) != 0 && !pair.up.ended) {
        const size_t before = pair.up.bytes;
        pair.read(pair.client, pair.up, weather);
        note_sent(pair, before);
      }
      if ((server & (POLLIN | POLLHUP | POLLERR)) != 0 && !pair.down.ended) {
        const size_t before = pair.down.bytes;
        pair.read(pair.server, pair.down, weather);
        note_answered(pair, before);
      }
      const size_t to_hear = pair.down.bytes;
      const bool whole =
          pair.write(pair.server, pair.up, weather) && pair.write(pair.client, pair.down, weather);
      pair.heard = pair.heard || pair.down.bytes < to_hear;
      cut = cut || !whole;
    }
    for (Pair& pair : pairs_) {
      if (cut || pair.over()) pair.close(false);
    }
    pairs_.remove_if([](const Pair& pair) { return pair.client < 0; });
    if (weather.truncates) {
      const std::lock_guard lock(mutex_);
      if (weather_.truncates) weather_.bytes_left = std::min(weather_.bytes_left, weather.bytes_left);
      if (cut) weather_ = {};
    }
    if (!weather.frozen && (fds[1].revents & POLLIN) != 0) accept_one(weather.delay);
  }
}

}  // namespace rsyncfs::support
