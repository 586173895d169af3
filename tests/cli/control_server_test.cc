// SPDX-License-Identifier: GPL-3.0-or-later
// The control socket on both engines: requests, progress, clients that go, ask too much, or are strangers.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/control/client.h"
#include "fs/control/local_socket.h"
#include "fs/control/server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace rsyncfs {
namespace {

using ::testing::HasSubstr;
using Kind = ControlAnswer::Kind;
constexpr int kLimitMs = 10'000;

// Answers status at once, fetch after some progress, info never, umount by dropping the reply.
class Handler final : public ControlHandler {
 public:
  void handle(ControlRequest request, std::shared_ptr<ControlReply> reply) override {
    ++handled;
    switch (request.verb) {
      case ControlVerb::kStatus:
        return reply->finish({.kind = Kind::kDone, .document = "{\"answer\":42}"});
      case ControlVerb::kFetch:
        reply->send({.kind = Kind::kProgress});
        for (const std::string& path : request.paths) {
          reply->send({.kind = Kind::kFailedPath, .path = path, .reason = "no"});
        }
        return reply->finish({.kind = Kind::kFailed, .reason = "because", .failure = ControlFailure::kBusy});
      case ControlVerb::kInfo:
        reply->on_gone([this] { ++gone; });
        held = std::move(reply);
        return;
      default:
        return;
    }
  }
  std::atomic<int> handled{0};
  std::atomic<int> gone{0};
  std::shared_ptr<ControlReply> held;  // loop thread
};

class ControlServerTest : public ::testing::TestWithParam<IoChoice> {
 protected:
  void SetUp() override {
    Result<LoopSelection> selection = make_loop(GetParam());
    if (!selection) GTEST_SKIP() << selection.error().message();
    loop = std::move(selection->loop);
    thread = std::thread([this] { loop->run(); });
    mount = {dir.path(), "/mnt/x", ""};
    Result<UniqueFd> listener = listen_local(mount.socket_path());
    ASSERT_TRUE(listener.ok()) << listener.error().message();
    server = ControlServer::create(*loop, std::move(listener.value()), geteuid(), handler);
    on_loop([this] { server->start(); });
  }
  void TearDown() override {
    if (!loop) return;
    if (server && !stopped) stop();
    on_loop([this] { handler.held = nullptr; });
    loop->stop();
    thread.join();
    server.reset();
  }
  void stop() {
    stopped = true;
    std::promise<void> done;
    loop->post([&] { server->stop([&done] { done.set_value(); }); });
    done.get_future().wait();
  }
  void on_loop(const std::function<void()>& work) {
    std::promise<void> done;
    loop->post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  ControlClient connect() {
    Result<ControlClient> client = ControlClient::connect(mount, kLimitMs);
    RSYNCFS_CHECK(client.ok());
    return std::move(client.value());
  }

  support::TempDir dir;
  Handler handler;
  std::unique_ptr<Loop> loop;
  std::thread thread;
  FoundMount mount;
  std::unique_ptr<ControlServer> server;
  bool stopped = false;
};

TEST_P(ControlServerTest, AnswersOneRequestAfterTheOther) {
  ControlClient client = connect();
  EXPECT_EQ(client.daemon_pid(), getpid());
  for (int i = 0; i < 3; ++i) {
    const Result<ControlAnswer> answer = client.call({.verb = ControlVerb::kStatus}, kLimitMs);
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(answer->document, "{\"answer\":42}");
  }
}

TEST_P(ControlServerTest, StreamsWhatComesBeforeTheLastAnswer) {
  ControlClient client = connect();
  std::vector<std::string> failed;
  int progress = 0;
  const Result<ControlAnswer> answer = client.call({.verb = ControlVerb::kFetch, .paths = {"a\xff", "b\n"}},
                                                   kLimitMs, [&](const ControlAnswer& said) {
                                                     if (said.kind == Kind::kProgress) ++progress;
                                                     if (said.kind == Kind::kFailedPath)
                                                       failed.push_back(said.path);
                                                   });
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->kind, Kind::kFailed);
  EXPECT_EQ(answer->failure, ControlFailure::kBusy);
  EXPECT_EQ(answer->reason, "because");
  EXPECT_EQ(progress, 1);
  EXPECT_THAT(failed, ::testing::ElementsAre("a\xff", "b\n"));
}

TEST_P(ControlServerTest, AForgottenReplyIsAFailureNotSilence) {
  ControlClient client = connect();
  const Result<ControlAnswer> answer = client.call({.verb = ControlVerb::kUnmount}, kLimitMs);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->kind, Kind::kFailed);
}

TEST_P(ControlServerTest, AClientThatGoesIsNoticed) {
  {
    ControlClient client = connect();
    constexpr int kShortMs = 50;
    const Result<ControlAnswer> answer = client.call({.verb = ControlVerb::kInfo, .paths = {"x"}}, kShortMs);
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().message(), "the daemon for /mnt/x does not answer");
    EXPECT_EQ(handler.gone, 0);
  }
  EXPECT_TRUE(support::wait_until([this] { return handler.gone == 1; }, std::chrono::seconds(10)));
  on_loop([this] { handler.held->finish({.kind = Kind::kDone}); });  // too late, and harmless
}

TEST_P(ControlServerTest, NonsenseIsAnsweredAndTooMuchIsCutOff) {
  const Result<UniqueFd> fd = connect_local(mount.socket_path(), kLimitMs);
  ASSERT_TRUE(fd.ok());
  ASSERT_EQ(send(fd->get(), "nonsense\n", 9, 0), 9);
  char buffer[4096];
  ASSERT_GT(recv(fd->get(), buffer, sizeof buffer, 0), 0);
  EXPECT_THAT(std::string(buffer), HasSubstr("malformed"));
  const std::string flood(64 * 1024, 'x');
  size_t sent = 0;
  while (sent < 4 * kMaxControlLine) {
    const ssize_t n = send(fd->get(), flood.data(), flood.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  EXPECT_LT(sent, 4 * kMaxControlLine) << "a line without an end is not taken for ever";
  EXPECT_EQ(handler.handled, 0);
}

TEST_P(ControlServerTest, RequestsInOnePieceAreAllAnswered) {
  const Result<UniqueFd> fd = connect_local(mount.socket_path(), kLimitMs);
  ASSERT_TRUE(fd.ok());
  const std::string line = encode(ControlRequest{.verb = ControlVerb::kStatus}) + "\n";
  constexpr int kCount = 100;
  std::string all;
  for (int i = 0; i < kCount; ++i) all += line;
  ASSERT_EQ(send(fd->get(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
  int lines = 0;
  char buffer[4096];
  while (lines < kCount) {
    const ssize_t n = recv(fd->get(), buffer, sizeof buffer, 0);
    ASSERT_GT(n, 0);
    lines += static_cast<int>(std::count(buffer, buffer + n, '\n'));
  }
  EXPECT_EQ(handler.handled, kCount);
}

// Answered one after the other, not one inside the other: the stack is not for clients to fill.
TEST_P(ControlServerTest, AFloodOfTinyRequestsIsSurvived) {
  const Result<UniqueFd> fd = connect_local(mount.socket_path(), kLimitMs);
  ASSERT_TRUE(fd.ok());
  const std::string flood(kMaxControlLine - 1, '\n');
  std::thread writer([&] {
    size_t sent = 0;
    while (sent < flood.size()) {
      const ssize_t n = send(fd->get(), flood.data() + sent, flood.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
    shutdown(fd->get(), SHUT_WR);
  });
  char buffer[65536];
  size_t answered = 0;
  for (ssize_t n = 0; (n = recv(fd->get(), buffer, sizeof buffer, 0)) > 0;) {
    answered += static_cast<size_t>(std::count(buffer, buffer + n, '\n'));
  }
  writer.join();
  EXPECT_GT(answered, 0U);
  EXPECT_TRUE(connect().call({.verb = ControlVerb::kStatus}, kLimitMs).ok()) << "others are served as before";
}

TEST_P(ControlServerTest, ConnectionsAreLimitedButNotForEver) {
  std::vector<UniqueFd> idle;
  for (size_t i = 0; i < ControlServer::kMaxConnections; ++i) {
    Result<UniqueFd> fd = connect_local(mount.socket_path(), kLimitMs);
    ASSERT_TRUE(fd.ok());
    idle.push_back(std::move(fd.value()));
  }
  ControlClient extra = connect();
  const Result<ControlAnswer> refused = extra.call({.verb = ControlVerb::kStatus}, kLimitMs);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::kDisconnected);
  idle.clear();
  EXPECT_TRUE(support::wait_until(
      [this] {
        Result<ControlClient> client = ControlClient::connect(mount, kLimitMs);
        return client && client->call({.verb = ControlVerb::kStatus}, kLimitMs).ok();
      },
      std::chrono::seconds(10)));
}

TEST_P(ControlServerTest, StoppingClosesAndCleansUp) {
  ControlClient idle = connect();
  ASSERT_TRUE(idle.call({.verb = ControlVerb::kStatus}, kLimitMs).ok());
  ControlClient waiting = connect();
  auto answer = std::async(std::launch::async, [&waiting] {
    return waiting.call({.verb = ControlVerb::kInfo, .paths = {"x"}}, kLimitMs);
  });
  ASSERT_TRUE(support::wait_until([this] { return handler.handled == 2; }, std::chrono::seconds(10)));
  stop();
  EXPECT_TRUE(idle.wait_closed(kLimitMs).ok());
  EXPECT_FALSE(answer.get().ok()) << "a request that does not end is cut off";
  EXPECT_EQ(handler.gone, 1);
}

TEST_P(ControlServerTest, TheSocketIsForItsOwner) {
  struct stat info {};
  ASSERT_EQ(stat(mount.socket_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  // Even if the file system let a stranger through.
  ASSERT_EQ(chmod(mount.socket_path().c_str(), 0666), 0);
  const pid_t stranger = fork();
  if (stranger == 0) {
    constexpr uid_t kNobody = 65534;
    if (setuid(kNobody) != 0) _exit(3);
    Result<ControlClient> client = ControlClient::connect(mount, kLimitMs);
    if (!client) _exit(4);
    _exit(client->call({.verb = ControlVerb::kStatus}, kLimitMs).ok() ? 5 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(stranger, &status, 0), stranger);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(handler.handled, 0);
}

TEST_P(ControlServerTest, ASecondListenerDoesNotTakeTheSocketOver) {
  const Result<UniqueFd> second = listen_local(mount.socket_path());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().os_errno(), EBUSY);
  EXPECT_TRUE(connect().call({.verb = ControlVerb::kStatus}, kLimitMs).ok());
}

INSTANTIATE_TEST_SUITE_P(Engines, ControlServerTest, ::testing::Values(IoChoice::kUring, IoChoice::kThreads),
                         [](const auto& choice) {
                           return choice.param == IoChoice::kUring ? "uring" : "threads";
                         });

TEST(LocalSocket, ReplacesADeadOneAndReachesLongPaths) {
  const support::TempDir dir;
  std::string deep = dir.path();
  for (int i = 0; i < 4; ++i) {
    deep += "/" + std::string(60, 'd');
    ASSERT_EQ(mkdir(deep.c_str(), 0700), 0);
  }
  const std::string path = deep + "/x.sock";
  ASSERT_GT(path.size(), sizeof(sockaddr_un::sun_path));
  EXPECT_EQ(connect_local(path, kLimitMs).error().code(), Errc::kNotFound);
  for (int round = 0; round < 2; ++round) {
    const Result<UniqueFd> listener = listen_local(path);
    ASSERT_TRUE(listener.ok()) << listener.error().message();
    EXPECT_TRUE(connect_local(path, kLimitMs).ok());
  }
  EXPECT_EQ(connect_local(path, kLimitMs).error().code(), Errc::kDisconnected);
  EXPECT_EQ(connect_local(dir / "none/x.sock", kLimitMs).error().code(), Errc::kNotFound);
}

TEST(LocalSocket, AListenerThatDoesNotAcceptIsBounded) {
  const support::TempDir dir;
  const std::string path = dir / "x.sock";
  const Result<UniqueFd> listener = listen_local(path);
  ASSERT_TRUE(listener.ok());
  constexpr int kShortMs = 100;
  std::vector<UniqueFd> waiting;
  for (int i = 0; i < 1000; ++i) {
    Result<UniqueFd> fd = connect_local(path, kShortMs);
    if (!fd) {
      EXPECT_EQ(fd.error().code(), Errc::kTimedOut);
      return;
    }
    waiting.push_back(std::move(fd.value()));
  }
  FAIL() << "the backlog has no end";
}

}  // namespace
}  // namespace rsyncfs
