// SPDX-License-Identifier: GPL-3.0-or-later
// Stands between clients and a server on loopback as a network would, and counts what goes through.
//   relay PORT SERVER_PORT CONTROL_PORT [none|lan|wan|mobile]        (default: none, which only counts)
// lan: round trip 0.2 ms, 1 Gbit/s; wan: 40 ms, 100 Mbit/s; mobile: 120 ms, 20 Mbit/s; each way, of payload.
//
// Who connects to CONTROL_PORT and writes one of these words and a newline gets one line:
//   counts   CONNECTIONS BYTES_TO_SERVER BYTES_FROM_SERVER OPEN, so far; of what was put on the link
//   cut      resets all connections, at both ends
//   freeze   nothing moves any more; connections stay
//   thaw     goes on, with what should have come meanwhile
//
// What is as on a real link:
// - The bytes of all connections in one direction follow each other at the link's speed, and then need half a
//   round trip (link.h). The buffer before that is small and shared in turn: who sends faster is held back by
//   the socket, after what the link holds.
// - A connection has a window (link.h), so a long answer needs some round trips to come up to speed. What was
//   delivered is acknowledged half a round trip later. What is on its way is no more than the receiver
//   announces, where that does not read; one that reads would, over the real distance, announce more and
//   more.
// - Opening costs a round trip before the client's first byte. connect() on loopback returns at once, so what
// the
//   client writes is left in its socket until the SYN-ACK would be there; half a round trip later, when the
//   client's ACK would be, the relay connects to the server. So connect() and a request cost two round trips,
//   and a server that speaks first is heard after two.
// - End of stream and reset travel like bytes, behind them. What arrives for a client that is gone was sent
// all
//   the same, and is counted.
// - The relay's sockets take little (kSocketBytes), so that what a server can write ahead is what its own
//   socket takes, as on a link.
// What is not: there is no loss, headers cost nothing, Nagle's algorithm sees loopback's acknowledgements,
// and a connection that the server refuses is one that is reset.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bench/relay/link.h"
#include "io/base/unique_fd.h"

namespace rsyncfs::relay {
namespace {

constexpr int kSocketBytes = 64 * 1024;  // the kernel doubles it
constexpr int kBacklog = 128;
constexpr int kEventsAtOnce = 64;
constexpr size_t kLongestCommand = 64;
constexpr uint8_t kEstablished = 1;  // TCP_ESTABLISHED of the kernel's net/tcp_states.h
constexpr Duration kLookAgain = std::chrono::milliseconds(1);

enum Side { kClient = 0, kServer = 1 };
Side other(Side side) {
  return side == kClient ? kServer : kClient;
}

// What a socket of the relay is to one of the two hosts of a connection. What it says goes to the other one.
struct End {
  UniqueFd socket;
  bool is_open = false;      // towards the relay; before: not connected yet, after: reset or done
  bool is_readable = false;  // as far as epoll said
  bool is_queued = false;    // in its direction's queue of senders
  bool has_ended = false;    // said all it has to say
  bool is_told_end = false;  // its peer's end was passed on to it
  bool end_arrived = false;  // its peer's end arrived, maybe behind bytes that it does not take yet
  uint64_t delivered = 0;    // that its socket took
  std::string undelivered;   // arrived, not taken by the socket yet; within the peer's window
  Window window;             // of what it sends
  Reading reading;           // how it takes what it gets

  explicit End(const Profile& profile) : window(profile) {}
};

struct Connection {
  std::array<End, 2> ends;

  explicit Connection(const Profile& profile) : ends{End(profile), End(profile)} {}
};

enum class Kind { kOpen, kBytes, kEnd, kReset };

struct Piece {
  Time arrives;
  uint64_t connection = 0;
  Kind kind = Kind::kBytes;
  std::string bytes;
};

struct Acknowledgement {
  Time arrives;
  uint64_t connection = 0;
  size_t bytes = 0;
};

// By the side that sends.
struct Way {
  Direction direction;
  std::deque<Piece> pieces;                      // on their way, by arrival
  std::deque<Acknowledgement> acknowledgements;  // of them, on their way back
  std::deque<uint64_t> senders;                  // connections that have something to send, in turn
  uint64_t bytes = 0;

  explicit Way(const Profile& profile) : direction(profile) {}
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

void set(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

UniqueFd new_socket() {
  UniqueFd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out) fail("socket");
  // Before connect and listen, because the window is announced there; what is accepted has it from its
  // listener.
  set(out.get(), SOL_SOCKET, SO_RCVBUF, kSocketBytes);
  set(out.get(), SOL_SOCKET, SO_SNDBUF, kSocketBytes);
  set(out.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  // Those of loopback are as long as that buffer, which then is acknowledged late.
  set(out.get(), IPPROTO_TCP, TCP_MAXSEG, kSegmentBytes);
  return out;
}

UniqueFd listen_at(uint16_t port) {
  UniqueFd out = new_socket();
  set(out.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const sockaddr_in address = loopback(port);
  if (::bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("bind");
  if (::listen(out.get(), kBacklog) != 0) fail("listen");
  return out;
}

void close_with_reset(UniqueFd& socket) {
  const linger at_once{1, 0};
  if (socket) ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  socket.reset();
}

class Relay {
 public:
  Relay(const Profile& profile, uint16_t port, uint16_t server_port, uint16_t control_port);
  [[noreturn]] void run();

 private:
  // What epoll says belongs to one of these, or to end SIDE of connection N: kFirstEnd + 2 * N + SIDE.
  static constexpr uint64_t kListener = 0;
  static constexpr uint64_t kControl = 1;
  static constexpr uint64_t kFirstEnd = 2;

  void watch(int fd, uint64_t what, uint32_t events);
  void watch_end(uint64_t id, Side side);
  void happened(const epoll_event& event);
  void accept_client();
  void connect_to_server(uint64_t id);
  void obey();

  // Everything whose time has come.
  void open_what_is_due(Time now);
  void deliver_what_is_due(Side from, Time now);
  void acknowledge_what_is_due(Side from, Time now);
  void read_what_fits(Side from, Time now);
  // When there is something to do next; nothing: not before a socket says so.
  std::optional<Time> next() const;

  void put(Side from, uint64_t id, Kind kind, std::string bytes, Time now);
  // Whether the sender goes on.
  bool read_piece(Side from, uint64_t id, Time now);
  // What this end has room for beyond what is on its way to it.
  size_t room_at(Side to, uint64_t id, size_t on_its_way, Time now);
  void look_at_held(Time now);
  void queue_sender(Side from, uint64_t id);
  void arrive(Side to, Piece piece, Time now);
  void write_undelivered(Side to, uint64_t id, Time now);
  void broke(Side side, uint64_t id, Time now);
  void forget_if_done(uint64_t id);
  void cut();
  void thaw();

  Connection* find(uint64_t id) {
    const auto found = connections_.find(id);
    return found == connections_.end() ? nullptr : &found->second;
  }

  const Profile profile_;
  const uint16_t server_port_;
  UniqueFd epoll_;
  UniqueFd listener_;
  UniqueFd control_;
  std::array<Way, 2> ways_;
  std::deque<std::pair<Time, uint64_t>> opening_;  // when the client has the SYN-ACK
  std::unordered_map<uint64_t, Connection> connections_;
  std::deque<std::tuple<Time, Side, uint64_t>> held_;  // senders whose receiver has no room, by when to look
  uint64_t accepted_ = 0;
  bool is_frozen_ = false;
};

Relay::Relay(const Profile& profile, uint16_t port, uint16_t server_port, uint16_t control_port)
    : profile_(profile),
      server_port_(server_port),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      listener_(listen_at(port)),
      control_(listen_at(control_port)),
      ways_{Way(profile_), Way(profile_)} {
  watch(listener_.get(), kListener, EPOLLIN);
  watch(control_.get(), kControl, EPOLLIN);
}

void Relay::watch(int fd, uint64_t what, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = what;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
}

void Relay::watch_end(uint64_t id, Side side) {
  watch(find(id)->ends[side].socket.get(), kFirstEnd + 2 * id + side, EPOLLIN | EPOLLOUT | EPOLLET);
}

void Relay::run() {
  std::array<epoll_event, kEventsAtOnce> events{};
  while (true) {
    const Time now = Clock::now();
    if (!is_frozen_) {
      open_what_is_due(now);
      look_at_held(now);
      for (const Side from : {kClient, kServer}) {
        acknowledge_what_is_due(from, now);
        read_what_fits(from, now);
        deliver_what_is_due(from, now);
      }
    }
    const std::optional<Time> until = next();
    timespec wait{};
    if (until) {
      const auto left =
          std::chrono::duration_cast<std::chrono::nanoseconds>(std::max(*until - Clock::now(), Duration(0)));
      wait.tv_sec = static_cast<time_t>(left.count() / 1'000'000'000);
      wait.tv_nsec = static_cast<long>(left.count() % 1'000'000'000);
    }
    const int count =
        ::epoll_pwait2(epoll_.get(), events.data(), kEventsAtOnce, until ? &wait : nullptr, nullptr);
    for (int i = 0; i < count; ++i) happened(events[static_cast<size_t>(i)]);
  }
}

std::optional<Time> Relay::next() const {
  if (is_frozen_) return std::nullopt;
  std::optional<Time> out;
  const auto at = [&out](Time time) { out = out ? std::min(*out, time) : time; };
  if (!opening_.empty()) at(opening_.front().first);
  if (!held_.empty()) at(std::get<Time>(held_.front()));
  for (const Way& way : ways_) {
    if (!way.pieces.empty()) at(way.pieces.front().arrives);
    if (!way.acknowledgements.empty()) at(way.acknowledgements.front().arrives);
    if (!way.senders.empty()) at(way.direction.has_room_at());
  }
  return out;
}

void Relay::happened(const epoll_event& event) {
  if (event.data.u64 == kListener) return accept_client();
  if (event.data.u64 == kControl) return obey();
  const uint64_t id = (event.data.u64 - kFirstEnd) / 2;
  const Side side = (event.data.u64 - kFirstEnd) % 2 == 0 ? kClient : kServer;
  Connection* connection = find(id);
  if (connection == nullptr || !connection->ends[side].is_open) return;
  End& end = connection->ends[side];
  // What it said before it broke is read first; the error comes behind it.
  if ((event.events & EPOLLERR) != 0 && end.has_ended) return broke(side, id, Clock::now());
  if ((event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
    end.is_readable = true;
    queue_sender(side, id);
  }
  if ((event.events & EPOLLOUT) != 0 && !is_frozen_) write_undelivered(side, id, Clock::now());
}

void Relay::accept_client() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  set(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  const uint64_t id = accepted_++;
  Connection& connection = connections_.try_emplace(id, profile_).first->second;
  connection.ends[kClient].socket = std::move(socket);
  opening_.emplace_back(Clock::now() + profile_.round_trip, id);
}

void Relay::open_what_is_due(Time now) {
  while (!opening_.empty() && opening_.front().first <= now) {
    const uint64_t id = opening_.front().second;
    opening_.pop_front();
    Connection* connection = find(id);
    if (connection == nullptr) continue;
    connection->ends[kClient].is_open = true;
    put(kClient, id, Kind::kOpen, {}, now);
    watch_end(id, kClient);  // only now: epoll tells of what it wrote meanwhile
  }
}

void Relay::connect_to_server(uint64_t id) {
  End& end = find(id)->ends[kServer];
  end.socket = new_socket();
  end.is_open = true;
  const sockaddr_in address = loopback(server_port_);
  // How it ends, epoll says: a socket that is being connected takes no bytes, one that was refused is broken.
  ::connect(end.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  watch_end(id, kServer);
}

void Relay::put(Side from, uint64_t id, Kind kind, std::string bytes, Time now) {
  Way& way = ways_[from];
  way.bytes += bytes.size();
  const Time arrives = way.direction.send(now, bytes.size());
  way.pieces.push_back({arrives, id, kind, std::move(bytes)});
}

void Relay::queue_sender(Side from, uint64_t id) {
  End& end = find(id)->ends[from];
  if (end.is_queued || !end.is_readable || !end.is_open || end.has_ended) return;
  end.is_queued = true;
  ways_[from].senders.push_back(id);
}

void Relay::read_what_fits(Side from, Time now) {
  Way& way = ways_[from];
  while (!way.senders.empty() && way.direction.has_room_at() <= now) {
    const uint64_t id = way.senders.front();
    way.senders.pop_front();
    Connection* connection = find(id);
    if (connection == nullptr) continue;
    connection->ends[from].is_queued = false;
    if (read_piece(from, id, now)) queue_sender(from, id);
  }
}

bool Relay::read_piece(Side from, uint64_t id, Time now) {
  End& end = find(id)->ends[from];
  if (!end.is_open) return false;
  end.window.restart_if_idle(now);
  std::string bytes(std::min(end.window.room(), profile_.piece_bytes()), '\0');
  if (bytes.empty()) return false;  // an acknowledgement queues it again
  bytes.resize(std::min(bytes.size(), room_at(other(from), id, end.window.on_its_way(), now)));
  if (bytes.empty()) {
    held_.emplace_back(now + kLookAgain, from, id);
    return false;
  }
  const ssize_t got = ::read(end.socket.get(), bytes.data(), bytes.size());
  if (got > 0) {
    bytes.resize(static_cast<size_t>(got));
    end.window.sent(now, bytes.size());
    put(from, id, Kind::kBytes, std::move(bytes), now);
    return true;
  }
  end.is_readable = false;
  if (got == 0) {
    end.has_ended = true;
    put(from, id, Kind::kEnd, {}, now);
  } else if (errno != EAGAIN && errno != EINTR) {
    broke(from, id, now);
  }
  return false;
}

size_t Relay::room_at(Side to, uint64_t id, size_t on_its_way, Time now) {
  End& end = find(id)->ends[to];
  tcp_info info{};
  socklen_t size = sizeof info;
  int unsent = 0;
  if (!end.is_open || ::getsockopt(end.socket.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
      ::ioctl(end.socket.get(), SIOCOUTQ, &unsent) != 0 || info.tcpi_state != kEstablished)
    return profile_.longest_window();  // not connected yet, or closing
  const auto held = static_cast<size_t>(unsent);
  end.reading.look(now, end.delivered - held, profile_.round_trip);
  const size_t window = std::max<size_t>(info.tcpi_snd_wnd, end.reading.window());
  const size_t used = on_its_way + held;
  return window > used ? window - used : 0;
}

void Relay::look_at_held(Time now) {
  while (!held_.empty() && std::get<Time>(held_.front()) <= now) {
    const auto [time, from, id] = held_.front();
    held_.pop_front();
    if (find(id) != nullptr) queue_sender(from, id);
  }
}

void Relay::deliver_what_is_due(Side from, Time now) {
  std::deque<Piece>& pieces = ways_[from].pieces;
  while (!pieces.empty() && pieces.front().arrives <= now) {
    Piece piece = std::move(pieces.front());
    pieces.pop_front();
    arrive(other(from), std::move(piece), now);
  }
}

void Relay::arrive(Side to, Piece piece, Time now) {
  Connection* connection = find(piece.connection);
  if (connection == nullptr) return;
  if (piece.kind == Kind::kOpen) return connect_to_server(piece.connection);
  End& end = connection->ends[to];
  if (piece.kind == Kind::kReset) {
    close_with_reset(end.socket);
    end.is_open = false;
    return forget_if_done(piece.connection);
  }
  if (!end.is_open) return;
  end.undelivered += piece.bytes;
  end.end_arrived = end.end_arrived || piece.kind == Kind::kEnd;
  write_undelivered(to, piece.connection, now);
}

void Relay::write_undelivered(Side to, uint64_t id, Time now) {
  End& end = find(id)->ends[to];
  size_t written = 0;
  while (written < end.undelivered.size()) {
    const ssize_t took =
        ::write(end.socket.get(), end.undelivered.data() + written, end.undelivered.size() - written);
    if (took > 0) {
      written += static_cast<size_t>(took);
    } else if (errno == EAGAIN || errno == ENOTCONN) {
      break;
    } else {
      return broke(to, id, now);
    }
  }
  end.undelivered.erase(0, written);
  end.delivered += written;
  if (written > 0) ways_[other(to)].acknowledgements.push_back({now + profile_.one_way(), id, written});
  if (end.undelivered.empty() && end.end_arrived && !end.is_told_end) {
    ::shutdown(end.socket.get(), SHUT_WR);
    end.is_told_end = true;
    forget_if_done(id);
  }
}

void Relay::acknowledge_what_is_due(Side from, Time now) {
  std::deque<Acknowledgement>& acknowledgements = ways_[from].acknowledgements;
  while (!acknowledgements.empty() && acknowledgements.front().arrives <= now) {
    const Acknowledgement acknowledgement = acknowledgements.front();
    acknowledgements.pop_front();
    Connection* connection = find(acknowledgement.connection);
    if (connection == nullptr) continue;
    connection->ends[from].window.acknowledged(acknowledgement.bytes);
    queue_sender(from, acknowledgement.connection);
  }
}

// One host is gone; the other one hears of it when the news has travelled.
void Relay::broke(Side side, uint64_t id, Time now) {
  End& end = find(id)->ends[side];
  end.is_open = false;
  end.socket.reset();
  end.undelivered.clear();
  put(side, id, Kind::kReset, {}, now);
}

// When both ends are closed, or each was told that the other one has no more to say.
void Relay::forget_if_done(uint64_t id) {
  const Connection& connection = *find(id);
  bool all_told = true;
  bool none_open = true;
  for (const End& end : connection.ends) {
    all_told = all_told && end.is_told_end;
    none_open = none_open && !end.is_open;
  }
  if (all_told || none_open) connections_.erase(id);
}

void Relay::cut() {
  for (auto& [id, connection] : connections_)
    for (End& end : connection.ends) close_with_reset(end.socket);
  connections_.clear();
}

void Relay::thaw() {
  is_frozen_ = false;
  // epoll has told that they take bytes, and does not do so again.
  std::vector<uint64_t> ids;
  for (const auto& [id, connection] : connections_) ids.push_back(id);
  for (const uint64_t id : ids)
    for (const Side side : {kClient, kServer})
      if (find(id) != nullptr && find(id)->ends[side].is_open) write_undelivered(side, id, Clock::now());
}

// Who asks is on this machine and writes at once, so it is waited for.
void Relay::obey() {
  const UniqueFd asker(::accept4(control_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!asker) return;
  const timeval longest{1, 0};
  ::setsockopt(asker.get(), SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
  std::array<char, kLongestCommand> command{};
  const ssize_t got = ::read(asker.get(), command.data(), command.size());
  std::string_view word(command.data(), got > 0 ? static_cast<size_t>(got) : 0);
  word = word.substr(0, word.find('\n'));
  std::string answer = "done\n";
  if (word == "cut") {
    cut();
  } else if (word == "freeze") {
    is_frozen_ = true;
  } else if (word == "thaw") {
    thaw();
  } else if (word == "counts") {
    answer = std::to_string(accepted_) + ' ' + std::to_string(ways_[kClient].bytes) + ' ' +
             std::to_string(ways_[kServer].bytes) + ' ' + std::to_string(connections_.size()) + '\n';
  } else {
    answer = "not understood\n";
  }
  if (::write(asker.get(), answer.data(), answer.size()) < 0) std::perror("control");
}

[[noreturn]] int usage() {
  std::fputs("usage: relay PORT SERVER_PORT CONTROL_PORT [none|lan|wan|mobile]\n", stderr);
  std::exit(2);
}

}  // namespace
}  // namespace rsyncfs::relay

int main(int argc, char** argv) {
  using namespace rsyncfs::relay;
  if (argc != 4 && argc != 5) usage();
  std::array<uint16_t, 3> ports{};
  for (size_t i = 0; i < ports.size(); ++i) ports[i] = static_cast<uint16_t>(std::atoi(argv[i + 1]));
  const std::optional<Profile> profile = profile_of(argc == 5 ? argv[4] : "none");
  if (!profile || ports[0] == 0 || ports[1] == 0 || ports[2] == 0) usage();
  std::signal(SIGPIPE, SIG_IGN);
  // A wake-up is to be as exact as the clock: a link of 0.2 ms would be one of 0.3.
  ::prctl(PR_SET_TIMERSLACK, 1);
  Relay(*profile, ports[0], ports[1], ports[2]).run();
}
