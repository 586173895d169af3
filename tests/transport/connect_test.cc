// SPDX-License-Identifier: GPL-3.0-or-later
// Connections to hosts with several addresses, of which some refuse and some say nothing.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/transport/transport_rig.h"

namespace rsyncfs::test {
namespace {

using ::testing::HasSubstr;

// A bound port of a loopback address.
class LoopbackPort {
 public:
  explicit LoopbackPort(const char* ip) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    EXPECT_EQ(::inet_pton(AF_INET, ip, &name.sin_addr), 1);
    socklen_t length = sizeof name;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&name), length), 0) << std::strerror(errno);
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &length), 0);
    std::memcpy(&address_.storage, &name, length);
    address_.length = length;
  }
  void listen(int backlog) { EXPECT_EQ(::listen(fd_.get(), backlog), 0); }
  const Address& address() const { return address_; }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  Address address_;
};

struct Server : LoopbackPort {
  explicit Server(const char* ip) : LoopbackPort(ip) { listen(16); }
};

// Its queue is full, so the kernel drops who knocks: no answer at all.
class BlackHole : public LoopbackPort {
 public:
  explicit BlackHole(const char* ip) : LoopbackPort(ip) {
    listen(0);
    for (UniqueFd& knock : knocks_) {
      knock = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)::connect(knock.get(), reinterpret_cast<const sockaddr*>(&address().storage), address().length);
    }
  }

 private:
  std::array<UniqueFd, 4> knocks_;
};

size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

class ConnectTest : public TransportTest {
 protected:
  void connect(Addresses addresses, milliseconds limit) {
    begun = Clock::now();
    on_loop([&] {
      resolver.emplace(loop(), "several.example", 873,
                       [addresses](const std::string&, uint16_t) { return Result<Addresses>(addresses); });
      attempt = connect_tcp(loop(), *resolver, options, limit, arrival.done());
    });
  }
  bool arrives() {
    return eventually([this] { return arrival.calls > 0; }, milliseconds(60'000));
  }
  void TearDown() override {
    if (loop_runs()) {
      on_loop([this] {
        attempt.reset();
        resolver.reset();
      });
    }
    TransportTest::TearDown();
  }
  // Who is at the other end of the stream that arrived.
  static bool accepted(const LoopbackPort& port) {
    return UniqueFd(::accept4(port.fd(), nullptr, nullptr, SOCK_NONBLOCK)).get() >= 0;
  }

  std::optional<Resolver> resolver;
  TcpOptions options;
  Clock::time_point begun{};
};

TEST_P(ConnectTest, ASilentAddressHoldsUpTheNextForAMomentOnly) {
  BlackHole silent("127.0.0.2");
  Server server("127.0.0.3");
  connect({silent.address(), silent.address(), server.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  ASSERT_TRUE(arrival.ok()) << arrival.error().message();
  EXPECT_LT(arrival.at - begun, seconds(30));
  EXPECT_TRUE(accepted(server));
  EXPECT_EQ(arrival.calls, 1);
}

TEST_P(ConnectTest, ARefusalGoesOnToTheNextAtOnce) {
  LoopbackPort closed("127.0.0.2");
  Server server("127.0.0.3");
  connect({closed.address(), server.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  ASSERT_TRUE(arrival.ok()) << arrival.error().message();
  EXPECT_TRUE(accepted(server));
}

TEST_P(ConnectTest, ARefusalWaitsForWhoHasNotAnsweredYet) {
  BlackHole silent("127.0.0.2");
  LoopbackPort closed("127.0.0.3");
  connect({silent.address(), closed.address()}, milliseconds(1500));
  ASSERT_TRUE(arrives());
  EXPECT_EQ(arrival.error().code(), Errc::kTimedOut) << arrival.error().message();
  EXPECT_GE(arrival.at - begun, milliseconds(1500));
  EXPECT_EQ(arrival.calls, 1);
}

TEST_P(ConnectTest, WhenAllRefuseTheErrorSaysSo) {
  LoopbackPort one("127.0.0.2");
  LoopbackPort two("127.0.0.3");
  connect({one.address(), two.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  EXPECT_EQ(arrival.error().code(), Errc::kUnreachable);
  EXPECT_EQ(arrival.error().os_errno(), ECONNREFUSED);
  EXPECT_THAT(arrival.error().message(), HasSubstr("several.example:873"));
}

TEST_P(ConnectTest, EveryAddressHasItsTurnWithinTheLimit) {
  BlackHole silent("127.0.0.2");
  Server server("127.0.0.3");
  Addresses addresses(15, silent.address());
  addresses.push_back(server.address());
  // 250 ms each would be more than this.
  connect(addresses, milliseconds(3600));
  ASSERT_TRUE(arrives());
  EXPECT_TRUE(arrival.ok()) << arrival.error().message();
}

TEST_P(ConnectTest, ANameServerThatDoesNotAnswerIsToldFromAHostThatDoesNot) {
  auto gate = std::make_shared<std::promise<void>>();
  on_loop([&] {
    resolver.emplace(loop(), "slow.example", 873, [gate](const std::string&, uint16_t) {
      gate->get_future().wait();
      return Result<Addresses>(Addresses{});
    });
    attempt = connect_tcp(loop(), *resolver, options, milliseconds(1000), arrival.done());
  });
  ASSERT_TRUE(arrives());
  EXPECT_EQ(arrival.error().code(), Errc::kTimedOut);
  EXPECT_THAT(arrival.error().message(), HasSubstr("cannot find host 'slow.example'"));
  gate->set_value();
}

TEST_P(ConnectTest, WhatIsGivenUpLeavesNothingOpen) {
  BlackHole silent("127.0.0.2");
  on_loop([] {});
  const size_t before = open_descriptors();
  connect({silent.address(), silent.address(), silent.address()}, seconds(60));
  ASSERT_TRUE(eventually([&] { return open_descriptors() > before + 1; }));
  on_loop([this] { attempt.reset(); });
  EXPECT_TRUE(eventually([&] { return open_descriptors() == before; }));
  EXPECT_EQ(arrival.calls, 0);
}

TEST_P(ConnectTest, TheAttemptMayBeDestroyedWhenItArrives) {
  Server server("127.0.0.3");
  on_loop([&] {
    resolver.emplace(loop(), "one.example", 873, [&](const std::string&, uint16_t) {
      return Result<Addresses>(Addresses{server.address()});
    });
    attempt =
        connect_tcp(loop(), *resolver, options, seconds(60), [this](Result<std::unique_ptr<Stream>> result) {
          attempt.reset();
          arrival.done()(std::move(result));
        });
  });
  ASSERT_TRUE(arrives());
  EXPECT_TRUE(arrival.ok()) << arrival.error().message();
}

// The descriptor of this process that is connected to `server`.
int connected_to(const LoopbackPort& server) {
  constexpr int kHighest = 1024;
  for (int fd = 0; fd < kHighest; ++fd) {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0 &&
        length == server.address().length && std::memcmp(&name, &server.address().storage, length) == 0)
      return fd;
  }
  return -1;
}

TEST_P(ConnectTest, SmallWritesGoAtOnceAndADeadPeerIsNoticed) {
  Server server("127.0.0.3");
  connect({server.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  ASSERT_TRUE(arrival.ok()) << arrival.error().message();
  const int fd = connected_to(server);
  ASSERT_GE(fd, 0);
  const auto option = [fd](int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    EXPECT_EQ(::getsockopt(fd, level, name, &value, &length), 0);
    return value;
  };
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_LE(option(IPPROTO_TCP, TCP_KEEPIDLE) +
                option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT),
            60);
}

// The address that the server sees.
std::string peer_of(const LoopbackPort& server) {
  sockaddr_in peer{};
  socklen_t length = sizeof peer;
  const UniqueFd fd(
      ::accept4(server.fd(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  std::array<char, INET_ADDRSTRLEN> text{};
  return fd && ::inet_ntop(AF_INET, &peer.sin_addr, text.data(), text.size()) != nullptr ? text.data() : "";
}

TEST_P(ConnectTest, ItComesFromTheAddressThatIsAskedFor) {
  Server server("127.0.0.3");
  options.from = *parse_own_address("127.0.0.77");
  connect({server.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  ASSERT_TRUE(arrival.ok()) << arrival.error().message();
  EXPECT_EQ(peer_of(server), "127.0.0.77");
}

TEST_P(ConnectTest, AddressesOfTheOtherFamilyAreLeftOut) {
  Server server("127.0.0.3");
  options.family = AF_INET6;
  connect({server.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  EXPECT_EQ(arrival.error().code(), Errc::kUnreachable);
  EXPECT_THAT(arrival.error().message(), HasSubstr("has no IPv6 address"));
}

int option_of(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  (void)::getsockopt(fd, level, name, &value, &length);
  return value;
}

TEST_P(ConnectTest, SocketOptionsAreSetAfterOurOwn) {
  Server server("127.0.0.3");
  options.sockopts = *parse_socket_options("SO_SNDBUF=40000, TCP_NODELAY=0\tIPTOS_THROUGHPUT SO_KEEPALIVE=0");
  connect({server.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  const int fd = connected_to(server);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_SNDBUF), 80'000);  // the kernel doubles it
  EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_EQ(option_of(fd, IPPROTO_IP, IP_TOS), IPTOS_THROUGHPUT);
  EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
}

TEST_P(ConnectTest, WhatIsUnreadStaysBelowItsLimit) {
  Server server("127.0.0.3");
  options.unread_bytes = 50'000;
  connect({server.address()}, seconds(60));
  ASSERT_TRUE(arrives());
  attach();
  const int fd = connected_to(server);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_RCVBUF), 100'000);
  on_loop([this] { stream->limit_unread(20'000); });
  EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_RCVBUF), 40'000);
  on_loop([this] { stream->limit_unread(0); });
  EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_RCVBUF), 100'000);
}

INSTANTIATE_TEST_SUITE_P(Engines, ConnectTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
