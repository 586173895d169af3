// SPDX-License-Identifier: GPL-3.0-or-later
// Sockets, pipes, terminals and process descriptors, through both engines, blocking and not.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <tuple>
#include <vector>

#include "tests/io/loop_fixture.h"

namespace rsyncfs::test {
namespace {

using namespace std::chrono_literals;

class StreamTest : public LoopFixture, public testing::WithParamInterface<std::tuple<IoChoice, bool>> {
 protected:
  void SetUp() override { open(std::get<0>(GetParam())); }
  static bool nonblocking() { return std::get<1>(GetParam()); }

  struct Listener {
    UniqueFd fd;
    sockaddr_in address{};
  };
  static Listener listen_somewhere() {
    Listener listener{UniqueFd(tcp_socket()), {}};
    listener.address.sin_family = AF_INET;
    listener.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener.fd.get(), as_address(listener), sizeof(sockaddr_in)), 0);
    EXPECT_EQ(::listen(listener.fd.get(), 16), 0);
    socklen_t size = sizeof listener.address;
    EXPECT_EQ(::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&listener.address), &size), 0);
    return listener;
  }
  static int tcp_socket() {
    return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking() ? SOCK_NONBLOCK : 0), 0);
  }
  static const sockaddr* as_address(const Listener& listener) {
    return reinterpret_cast<const sockaddr*>(&listener.address);
  }

  // Sends and receives all of `text`, however many operations that takes.
  void send_all(int fd, std::string_view text);
  void recv_all(int fd, std::string& into, size_t done = 0);
};

void StreamTest::send_all(int fd, std::string_view text) {
  const iovec rest = part(text);
  loop().send(fd, {&rest, 1}, [this, fd, text](Result<size_t> sent) {
    ASSERT_TRUE(sent.ok()) << sent.error().message();
    if (*sent < text.size()) send_all(fd, text.substr(*sent));
  });
}

void StreamTest::recv_all(int fd, std::string& into, size_t done) {
  loop().recv(fd, writable(into).subspan(done), [this, fd, &into, done](Result<size_t> got) {
    if (!got.ok() || *got == 0) ADD_FAILURE() << "ended after " << done << " bytes";
    if (!got.ok() || *got == 0 || done + *got == into.size()) return loop().stop();
    recv_all(fd, into, done + *got);
  });
}

TEST_P(StreamTest, RecvWaitsForSend) {
  auto [near, far] = make_socketpair(nonblocking());
  std::string buffer(100, '.');
  Outcome got;
  Outcome sent;
  loop().recv(near.get(), writable(buffer), into(got));
  loop().run_after(5ms, [&, fd = far.get()] {
    const std::array parts = {part("one "), part(""), part("two")};
    loop().send(fd, parts, into(sent));
  });
  run_all();
  ASSERT_EQ(error_of(got), 0);
  ASSERT_EQ(error_of(sent), 0);
  EXPECT_EQ(**sent, 7U);
  EXPECT_EQ(buffer.substr(0, **got), "one two");
  EXPECT_EQ(::fcntl(near.get(), F_GETFL) & O_NONBLOCK, nonblocking() ? O_NONBLOCK : 0);
}

TEST_P(StreamTest, CompletionsAreNeverCalledInsideTheCall) {
  auto [near, far] = make_socketpair(nonblocking());
  const iovec data = part("ready before anyone asks");
  ASSERT_GT(::writev(far.get(), &data, 1), 0);
  std::string buffer(100, '.');
  bool inside = false;
  bool nested = false;
  loop().post([&, fd = near.get()] {
    inside = true;
    loop().recv(fd, writable(buffer), [&](const Result<size_t>&) {
      nested = inside;
      loop().stop();
    });
    inside = false;
  });
  run();
  EXPECT_FALSE(nested);
}

TEST_P(StreamTest, EndOfFileIsZero) {
  auto [near, far] = make_socketpair(nonblocking());
  std::string buffer(10, '.');
  Outcome got;
  loop().recv(near.get(), writable(buffer), into(got));
  loop().run_after(2ms, [&far = far] { far.reset(); });
  run_all();
  ASSERT_EQ(error_of(got), 0);
  EXPECT_EQ(**got, 0U);
}

TEST_P(StreamTest, LargeTransferGoesInParts) {
  constexpr size_t kSize = size_t{64} << 20;
  auto [near, far] = make_socketpair(nonblocking());
  const std::string text = pattern(kSize, 64);
  std::string received(kSize, '\0');
  send_all(near.get(), text);
  recv_all(far.get(), received);
  run();
  EXPECT_TRUE(received == text);
  EXPECT_EQ(loop().counters().bytes[static_cast<size_t>(IoOp::kRecv)].load(), kSize);
  EXPECT_GT(loop().counters().ops[static_cast<size_t>(IoOp::kSend)].load(), 1U);
}

TEST_P(StreamTest, LargeTransferThroughAPipe) {
  constexpr size_t kSize = size_t{4} << 20;
  auto [out, in] = make_pipe(nonblocking());
  const std::string text = pattern(kSize, 4);
  std::string received(kSize, '\0');
  send_all(in.get(), text);
  // The pipe is full long before its reader begins; nothing else may wait for that.
  bool alive = false;
  loop().run_after(5ms, [&] { alive = true; });
  loop().run_after(10ms, [&, fd = out.get()] { recv_all(fd, received); });
  run();
  EXPECT_TRUE(alive);
  EXPECT_TRUE(received == text);
}

TEST_P(StreamTest, PipeEndOfFileAndBrokenPipe) {
  auto [out, in] = make_pipe(nonblocking());
  std::string buffer(10, '.');
  Outcome got;
  loop().recv(out.get(), writable(buffer), into(got));
  loop().run_after(2ms, [&in = in] { in.reset(); });
  run_all();
  ASSERT_EQ(error_of(got), 0);
  EXPECT_EQ(**got, 0U);

  auto [out2, in2] = make_pipe(nonblocking());
  out2.reset();
  Outcome sent;
  const iovec data = part("into the void");
  loop().send(in2.get(), {&data, 1}, into(sent));
  run_all();  // and the process is still there: SIGPIPE is at its default in tests
  EXPECT_EQ(error_of(sent), EPIPE);
  sigset_t blocked;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &blocked), 0);
  EXPECT_EQ(sigismember(&blocked, SIGPIPE), 0);
}

TEST_P(StreamTest, SendToAClosedPeerIsAnError) {
  auto [near, far] = make_socketpair(nonblocking());
  far.reset();
  Outcome sent;
  const iovec data = part("anyone?");
  loop().send(near.get(), {&data, 1}, into(sent));
  run_all();
  EXPECT_EQ(error_of(sent), EPIPE);
  EXPECT_EQ(sent->error().code(), Errc::kOs);
}

TEST_P(StreamTest, ConnectAndAccept) {
  const Listener listener = listen_somewhere();
  const UniqueFd client(tcp_socket());
  Outcome accepted;
  Outcome connected;
  loop().accept(listener.fd.get(), into(accepted));
  loop().run_after(2ms, [&] {
    const sockaddr_in address = listener.address;  // gone when this returns: connect() has to copy it
    loop().connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address,
                   into(connected));
  });
  run_all();
  ASSERT_EQ(error_of(connected), 0);
  ASSERT_EQ(error_of(accepted), 0);
  const UniqueFd server(static_cast<int>(**accepted));
  EXPECT_NE(::fcntl(server.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(::fcntl(client.get(), F_GETFL) & O_NONBLOCK, nonblocking() ? O_NONBLOCK : 0);

  std::string buffer(3, '.');
  Outcome sent;
  Outcome got;
  const iovec data = part("abc");
  loop().send(server.get(), {&data, 1}, into(sent));
  loop().recv(client.get(), writable(buffer), into(got));
  run_all();
  EXPECT_EQ(error_of(sent), 0);
  EXPECT_EQ(buffer, "abc");
}

TEST_P(StreamTest, AcceptTakesManyConnections) {
  constexpr int kConnections = 12;
  const Listener listener = listen_somewhere();
  std::vector<UniqueFd> clients;
  std::vector<Outcome> connected(kConnections);
  std::vector<Outcome> accepted(kConnections);
  for (int i = 0; i < kConnections; ++i)
    loop().accept(listener.fd.get(), into(accepted[static_cast<size_t>(i)]));
  for (auto& outcome : connected) {
    clients.emplace_back(tcp_socket());
    loop().connect(clients.back().get(), as_address(listener), sizeof(sockaddr_in), into(outcome));
  }
  run_all();
  for (const auto& outcome : connected) EXPECT_EQ(error_of(outcome), 0);
  for (const auto& outcome : accepted) {
    ASSERT_EQ(error_of(outcome), 0);
    ::close(static_cast<int>(**outcome));
  }
}

TEST_P(StreamTest, ConnectRefused) {
  Listener listener = listen_somewhere();
  listener.fd.reset();
  const UniqueFd client(tcp_socket());
  Outcome connected;
  loop().connect(client.get(), as_address(listener), sizeof(sockaddr_in), into(connected));
  run_all();
  ASSERT_EQ(error_of(connected), ECONNREFUSED);
  EXPECT_EQ(connected->error().message(), "connect: Connection refused");
}

TEST_P(StreamTest, PollReadableTellsWithoutReading) {
  auto [near, far] = make_socketpair(nonblocking());
  Outcome ready;
  loop().poll_readable(near.get(), into(ready));
  loop().run_after(5ms, [fd = far.get()] { ASSERT_EQ(::write(fd, "x", 1), 1); });
  run_all();
  ASSERT_EQ(error_of(ready), 0);
  EXPECT_EQ(**ready, 0U);
  char byte = 0;
  EXPECT_EQ(::recv(near.get(), &byte, 1, MSG_DONTWAIT), 1);
}

TEST_P(StreamTest, BothDirectionsWaitAtOnce) {
  auto [near, far] = make_socketpair(nonblocking());
  // Fill the way out, so that sending waits as well.
  const std::string filler(size_t{1} << 16, 'f');
  while (::send(near.get(), filler.data(), filler.size(), MSG_DONTWAIT) > 0) {
  }
  std::string buffer(4, '.');
  Outcome sent;
  const iovec data = part("tail");
  loop().recv(near.get(), writable(buffer), [&, fd = far.get()](const Result<size_t>& got) {
    EXPECT_TRUE(got.ok());
    EXPECT_FALSE(sent.has_value());
    std::string drain(size_t{1} << 20, '\0');
    while (::recv(fd, drain.data(), drain.size(), MSG_DONTWAIT) > 0) {
    }
  });
  loop().send(near.get(), {&data, 1}, into(sent));
  loop().run_after(5ms, [&, fd = far.get()] { EXPECT_EQ(::write(fd, "head", 4), 4); });
  run_all();
  EXPECT_EQ(buffer, "head");
  ASSERT_EQ(error_of(sent), 0);
  EXPECT_EQ(**sent, 4U);
}

TEST_P(StreamTest, BadDescriptors) {
  const FdPair closed = make_socketpair(nonblocking());
  const int fd = closed.first.get();
  const int never = 1 << 19;
  std::string buffer(10, '.');
  const iovec data = part("x");
  Outcome recv;
  Outcome send;
  Outcome accept;
  Outcome poll;
  Outcome not_listening;
  loop().recv(never, writable(buffer), into(recv));
  loop().send(never, {&data, 1}, into(send));
  loop().accept(-1, into(accept));
  loop().poll_readable(never, into(poll));
  ASSERT_EQ(::write(closed.second.get(), "x", 1), 1);
  loop().accept(fd, into(not_listening));
  run_all();
  EXPECT_EQ(error_of(recv), EBADF);
  EXPECT_EQ(error_of(send), EBADF);
  EXPECT_EQ(error_of(accept), EBADF);
  EXPECT_EQ(error_of(poll), EBADF);
  EXPECT_EQ(error_of(not_listening), EINVAL);
}

TEST_P(StreamTest, DescriptorNumbersAreReused) {
  // The same number names another socket after each round; nothing of the old one may be remembered.
  for (int round = 0; round < 50; ++round) {
    auto [near, far] = make_socketpair(nonblocking());
    std::string buffer(8, '.');
    Outcome got;
    loop().recv(near.get(), writable(buffer), into(got));
    loop().run_after(100us, [&, fd = far.get()] { ASSERT_EQ(::write(fd, &round, sizeof round), 4); });
    run_all();
    ASSERT_EQ(error_of(got), 0);
    ASSERT_EQ(**got, sizeof round);
  }
}

TEST_P(StreamTest, ProcessDescriptor) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::usleep(10'000);
    ::_exit(7);
  }
  ASSERT_GT(child, 0);
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  ASSERT_TRUE(pidfd);
  Outcome ended;
  loop().poll_readable(pidfd.get(), into(ended));
  run_all();
  EXPECT_EQ(error_of(ended), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WNOHANG), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST_P(StreamTest, Terminal) {
  const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(master);
  ASSERT_EQ(::grantpt(master.get()), 0);
  ASSERT_EQ(::unlockpt(master.get()), 0);
  std::array<char, 64> name{};
  ASSERT_EQ(::ptsname_r(master.get(), name.data(), name.size()), 0);
  const UniqueFd terminal(
      ::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC | (nonblocking() ? O_NONBLOCK : 0)));
  ASSERT_TRUE(terminal);
  std::string buffer(10, '.');
  Outcome got;
  loop().recv(terminal.get(), writable(buffer), into(got));
  loop().run_after(5ms, [&] { ASSERT_EQ(::write(master.get(), "yes\n", 4), 4); });
  run_all();
  ASSERT_EQ(error_of(got), 0);
  EXPECT_EQ(buffer.substr(0, **got), "yes\n");

  Outcome cancelled;
  const OpId waiting = loop().recv(terminal.get(), writable(buffer), into(cancelled));
  loop().run_after(5ms, [&] { loop().cancel(waiting); });
  run_all();
  EXPECT_EQ(error_of(cancelled), ECANCELED);
}

std::string engine_and_mode(const testing::TestParamInfo<std::tuple<IoChoice, bool>>& info) {
  const auto [engine, nonblocking] = info.param;
  return std::string(engine == IoChoice::kUring ? "uring" : "threads") +
         (nonblocking ? "_nonblocking" : "_blocking");
}

INSTANTIATE_TEST_SUITE_P(Engines, StreamTest, testing::Combine(kEngines, testing::Bool()), engine_and_mode);

}  // namespace
}  // namespace rsyncfs::test
