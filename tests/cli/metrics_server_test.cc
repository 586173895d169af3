// SPDX-License-Identifier: GPL-3.0-or-later
// The metrics server on both engines: what it answers, and clients that are slow, many or talk nonsense.
#include "fs/control/metrics_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/control/local_socket.h"
#include "tests/support/files.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
constexpr int kLimitMs = 10'000;

class MetricsServerTest : public ::testing::TestWithParam<IoChoice> {
 protected:
  void SetUp() override {
    Result<LoopSelection> selection = make_loop(GetParam());
    if (!selection) GTEST_SKIP() << selection.error().message();
    loop = std::move(selection->loop);
    thread = std::thread([this] { loop->run(); });
    Result<UniqueFd> listener = listen_metrics(path(), 0640);
    ASSERT_TRUE(listener.ok()) << listener.error().message();
    server = MetricsServer::create(*loop, std::move(listener.value()), [this](MetricsServer::Answer answer) {
      ++pages;
      if (fails) return answer(Error(Errc::kOs, "no page"));
      answer(std::string(page_bytes, 'x'));
    });
    on_loop([this] { server->start(); });
  }
  void TearDown() override {
    if (!loop) return;
    if (server) on_loop([this] { server->stop(); });
    loop->stop();
    thread.join();
    server.reset();
  }
  std::string path() const { return dir / "m.sock"; }
  void on_loop(const std::function<void()>& work) {
    std::promise<void> done;
    loop->post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  UniqueFd connect() const {
    Result<UniqueFd> fd = connect_local(path(), kLimitMs);
    EXPECT_TRUE(fd.ok());
    const timeval limit{30, 0};
    EXPECT_EQ(setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    return std::move(fd.value());
  }
  // Until the server closes; "" if it said nothing.
  static std::string rest(const UniqueFd& fd) {
    std::string out;
    char buffer[65536];
    while (true) {
      const ssize_t got = recv(fd.get(), buffer, sizeof buffer, 0);
      if (got < 0 && errno == EINTR) continue;  // with a timeout it is not restarted
      if (got <= 0) break;
      out.append(buffer, static_cast<size_t>(got));
    }
    return out;
  }
  std::string ask(const std::string& request) const {
    const UniqueFd fd = connect();
    EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    return rest(fd);
  }
  std::string get() const { return ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); }

  support::TempDir dir;
  std::atomic<size_t> page_bytes{5};
  std::atomic<bool> fails{false};
  std::atomic<int> pages{0};
  std::unique_ptr<Loop> loop;
  std::thread thread;
  std::unique_ptr<MetricsServer> server;
};

TEST_P(MetricsServerTest, AnswersGetAndHead) {
  const std::string answer = get();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nxxxxx"));
  const std::string head = ask("HEAD /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(head, EndsWith("\r\n\r\n"));
}

TEST_P(MetricsServerTest, RefusesWhatItDoesNotHave) {
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(ask("nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask(std::string("GET /metrics HTTP/1.1\r\nX: \0\xff\r\n\r\n", 33)),
              StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(pages, 1);
  fails = true;
  std::this_thread::sleep_for(MetricsServer::kFresh);
  EXPECT_THAT(get(), StartsWith("HTTP/1.1 503 "));
}

TEST_P(MetricsServerTest, ARequestWithoutAnEndIsCutOff) {
  const UniqueFd fd = connect();
  const std::string flood(4 * MetricsServer::kMaxRequest, 'x');
  size_t sent = 0;
  while (sent < 64 * flood.size()) {
    const ssize_t got = send(fd.get(), flood.data(), flood.size(), MSG_NOSIGNAL);
    if (got <= 0) break;
    sent += static_cast<size_t>(got);
  }
  EXPECT_LT(sent, 64 * flood.size());
  EXPECT_EQ(pages, 0);
  EXPECT_THAT(get(), StartsWith("HTTP/1.1 200 ")) << "others are served as before";
}

TEST_P(MetricsServerTest, WhoDoesNotReadHoldsUpNobody) {
  page_bytes = 8 << 20;  // more than a socket takes
  const UniqueFd slow = connect();
  const std::string request = "GET /metrics HTTP/1.1\r\n\r\n";
  ASSERT_EQ(send(slow.get(), request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  const UniqueFd silent = connect();
  const auto began = std::chrono::steady_clock::now();
  EXPECT_GT(get().size(), page_bytes);
  EXPECT_LT(std::chrono::steady_clock::now() - began, MetricsServer::kLimit);
  // Each is given up at its limit.
  EXPECT_EQ(rest(silent), "");
  EXPECT_LT(rest(slow).size(), page_bytes) << "what came after the limit was not sent";
}

TEST_P(MetricsServerTest, ClientsAreLimitedButNotForEver) {
  std::vector<UniqueFd> idle;
  for (size_t i = 0; i < MetricsServer::kMaxConnections; ++i) idle.push_back(connect());
  EXPECT_EQ(rest(connect()), "") << "one too many is closed at once";
  idle.clear();
  EXPECT_TRUE(support::wait_until([this] { return !get().empty(); }, std::chrono::seconds(10)));
}

TEST_P(MetricsServerTest, WhoComesTooOftenGetsTheSamePage) {
  const auto began = std::chrono::steady_clock::now();
  constexpr int kAsked = 200;
  for (int i = 0; i < kAsked; ++i) EXPECT_THAT(get(), StartsWith("HTTP/1.1 200 "));
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_LE(pages, 1 + took / MetricsServer::kFresh);
}

TEST_P(MetricsServerTest, StoppingClosesAll) {
  const UniqueFd idle = connect();
  ASSERT_THAT(get(), StartsWith("HTTP/1.1 200 "));
  on_loop([this] { server->stop(); });
  EXPECT_EQ(rest(idle), "");
  server.reset();
}

INSTANTIATE_TEST_SUITE_P(Engines, MetricsServerTest, ::testing::Values(IoChoice::kUring, IoChoice::kThreads),
                         [](const auto& choice) {
                           return choice.param == IoChoice::kUring ? "uring" : "threads";
                         });

TEST(MetricsListener, HasItsModeAndReplacesOnlyDeadSockets) {
  const support::TempDir dir;
  const std::string path = dir / "m";
  struct stat info {};
  {
    const Result<UniqueFd> first = listen_metrics(path, 0660);
    ASSERT_TRUE(first.ok()) << first.error().message();
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0660U);
    EXPECT_EQ(listen_metrics(path, 0600).error().os_errno(), EBUSY);
  }
  EXPECT_TRUE(listen_metrics(path, 0600).ok()) << "nobody listens there any more";
  unlink(path.c_str());
  support::write_file(path, "precious");
  const Result<UniqueFd> refused = listen_metrics(path, 0600);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("is no socket"));
  EXPECT_EQ(support::read_file(path), "precious");
  EXPECT_EQ(listen_metrics(dir / "none/m", 0600).error().os_errno(), ENOENT);
}

TEST(MetricsListener, ListensOnLoopbackOnly) {
  const Result<UniqueFd> listener = listen_metrics(uint16_t{0}, false);
  ASSERT_TRUE(listener.ok()) << listener.error().message();
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  ASSERT_EQ(getsockname(listener->get(), reinterpret_cast<sockaddr*>(&bound), &length), 0);
  const auto& address = reinterpret_cast<const sockaddr_in&>(bound);
  EXPECT_EQ(ntohl(address.sin_addr.s_addr), INADDR_LOOPBACK);
  const Result<UniqueFd> second = listen_metrics(ntohs(address.sin_port), false);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message(), HasSubstr("127.0.0.1:" + std::to_string(ntohs(address.sin_port))));
}

}  // namespace
}  // namespace rsyncfs
