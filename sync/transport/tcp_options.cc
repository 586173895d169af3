// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/transport/tcp_options.h"

#include <netdb.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "io/base/unique_fd.h"

namespace rsyncfs {

namespace {

// rsync's socket.c, socket_options[].
struct KnownOption {
  std::string_view name;
  int level;
  int option;
  int fixed;  // what it is set to, if it takes no value; 0: it takes one
};
constexpr std::array kKnown = {
    KnownOption{"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 0},
    KnownOption{"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 0},
    KnownOption{"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, 0},
    KnownOption{"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 0},
    KnownOption{"IPTOS_LOWDELAY", IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY},
    KnownOption{"IPTOS_THROUGHPUT", IPPROTO_IP, IP_TOS, IPTOS_THROUGHPUT},
    KnownOption{"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 0},
    KnownOption{"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 0},
    KnownOption{"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 0},
};
constexpr size_t kMaxOptions = 64;

Error bad(std::string_view word, std::string_view why) {
  return Error(Errc::kUsage, "'" + std::string(word) + "' " + std::string(why));
}

std::string known_names() {
  std::string out;
  for (const KnownOption& one : kKnown) out.append(out.empty() ? "" : ", ").append(one.name);
  return out;
}

Result<SocketOption> parse_one(std::string_view word) {
  const size_t equal = word.find('=');
  const std::string_view name = word.substr(0, equal);
  const auto known = std::ranges::find(kKnown, name, &KnownOption::name);
  if (known == kKnown.end()) return bad(name, "is no socket option known here; there are " + known_names());
  SocketOption out{known->level, known->option, known->fixed == 0 ? 1 : known->fixed};
  if (equal == std::string_view::npos) return out;
  if (known->fixed != 0) return bad(name, "takes no value");
  const std::string_view value = word.substr(equal + 1);
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out.value);
  if (error != std::errc() || end != value.data() + value.size() || out.value < 0)
    return bad(word, "needs a number of 0 or more");
  return out;
}

}  // namespace

Result<std::vector<SocketOption>> parse_socket_options(std::string_view text) {
  constexpr std::string_view kBetween = " \t,";
  std::vector<SocketOption> out;
  const UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (size_t at = 0; (at = text.find_first_not_of(kBetween, at)) != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    at = end;
    const Result<SocketOption> option = parse_one(word);
    if (!option) return option.error();
    if (out.size() == kMaxOptions) return bad(word, "is one too many");
    if (probe &&
        ::setsockopt(probe.get(), option->level, option->name, &option->value, sizeof option->value) != 0)
      return bad(word, std::string("is refused by this system: ") + std::strerror(errno));
    out.push_back(*option);
  }
  if (out.empty()) return Error(Errc::kUsage, "socket options are needed, as SO_SNDBUF=65536");
  return out;
}

Result<Address> parse_own_address(std::string_view text) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(std::string(text).c_str(), nullptr, &hints, &found) != 0)
    return Error(Errc::kUsage,
                 "an address of this machine in numbers is needed, as 192.0.2.7 or 2001:db8::7");
  Address out;
  std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
  out.length = found->ai_addrlen;
  ::freeaddrinfo(found);
  const UniqueFd probe(::socket(out.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (probe &&
      ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&out.storage), out.length) != 0) {  // NOLINT
    return Error(Errc::kUsage, std::string("no connection can come from it (") + std::strerror(errno) +
                                   "); `ip address` shows this machine's");
  }
  return out;
}

}  // namespace rsyncfs
