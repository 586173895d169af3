// SPDX-License-Identifier: GPL-3.0-or-later
// Streams that were made before they were needed, and are closed by the time that they are.
#include "sync/engine/push_connection.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>

#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "io/loop.h"

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;

class StaleStreamTest : public ::testing::Test, protected PushUser {
 protected:
  void SetUp() override {
    auto made = make_loop(IoChoice::kAuto);
    ASSERT_TRUE(made.ok());
    loop_ = std::move(made->loop);
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);  // NOLINT: what bind(2) takes
    ASSERT_EQ(::bind(listener_.get(), any, length), 0);
    ASSERT_EQ(::listen(listener_.get(), 8), 0);
    ASSERT_EQ(::getsockname(listener_.get(), any, &length), 0);
    options_.source.kind = Source::Kind::kDaemon;
    options_.source.host = "127.0.0.1";
    options_.source.port = ntohs(address.sin_port);
    options_.source.module = "m";
    options_.keep_ready = false;
  }
  void open_pool() {
    pool_ = std::make_unique<SessionPool>(
        *loop_, options_, ServerFeatures(), [] {}, [this](const Error&) { ++link_failures_; });
  }
  void TearDown() override {
    if (connection_) connection_->close(Error(Errc::kCanceled, "over"));
    connection_.reset();
    run_for(milliseconds(20));
    stream_.reset();
    pool_.reset();
  }
  UniqueFd accept() const { return UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
  void run_for(milliseconds time) {
    loop_->run_after(time, [this] { loop_->stop(); });
    loop_->run();
  }
  // A stream to the listener; the greeting is said, and then it is closed.
  void make_stale_stream() {
    const auto attempt = connect_tcp(*loop_, pool_->resolver(), TcpOptions(), milliseconds(2000),
                                     [this](Result<std::unique_ptr<Stream>> stream) {
                                       if (stream) stream_ = std::move(*stream);
                                       loop_->stop();
                                     });
    loop_->run();
    ASSERT_NE(stream_, nullptr);
    greet_and_close();
  }
  void greet_and_close() {
    const UniqueFd server = accept();
    ASSERT_TRUE(server);
    constexpr std::string_view kGreeting = "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n";
    ASSERT_EQ(::write(server.get(), kGreeting.data(), kGreeting.size()),
              static_cast<ssize_t>(kGreeting.size()));
  }
  void open(PushConfig config) {
    connection_ =
        PushConnection::open(*loop_, *pool_, options_, std::move(config), *this, std::move(stream_));
    ASSERT_NE(connection_, nullptr);
    run_for(milliseconds(200));
  }

  void on_request(PushRequest /*request*/) override {}
  void on_finished() override {}
  void on_ended(Result<void> end) override {
    ended_ = std::move(end);
    connection_.reset();
  }

  std::unique_ptr<Loop> loop_;
  UniqueFd listener_;
  SyncerOptions options_;
  std::unique_ptr<SessionPool> pool_;
  std::unique_ptr<Stream> stream_;
  std::shared_ptr<PushConnection> connection_;
  std::optional<Result<void>> ended_;
  int link_failures_ = 0;
};

PushConfig removal() {
  PushConfig config;
  config.kind = PushKind::kDelete;
  config.entries.emplace_back().path = "f";
  return config;
}

TEST_F(StaleStreamTest, ItIsTriedAnewBeforeItsListIsNeeded) {
  open_pool();
  make_stale_stream();
  PushConfig config;
  config.kind = PushKind::kDelete;
  open(std::move(config));
  EXPECT_FALSE(ended_);
  EXPECT_TRUE(accept()) << "another connection";
  EXPECT_EQ(link_failures_, 0);
  EXPECT_FALSE(pool_->link().down());
}

TEST_F(StaleStreamTest, ItIsTriedAnewWithAListThatHasNotGoneOut) {
  open_pool();
  make_stale_stream();
  open(removal());
  EXPECT_FALSE(ended_);
  EXPECT_TRUE(accept());
  EXPECT_EQ(link_failures_, 0);
  EXPECT_FALSE(pool_->link().down());
}

// What the list says may have been done: whoever gave it looks.
TEST_F(StaleStreamTest, AListThatHasGoneOutIsNotSentTwice) {
  open_pool();
  pool_->features().abilities.emplace();
  pool_->features().abilities_seen = true;
  make_stale_stream();
  open(removal());
  ASSERT_TRUE(ended_);
  EXPECT_EQ(ended_->error().code(), Errc::kDisconnected) << ended_->error().message();
  EXPECT_FALSE(accept());
  EXPECT_EQ(link_failures_, 0);
  EXPECT_FALSE(pool_->link().down());
}

// A second one that breaks is the link's fault.
TEST_F(StaleStreamTest, TheNextConnectionCounts) {
  open_pool();
  make_stale_stream();
  // In one run of the loop: what is under way at its end is over.
  loop_->run_after(milliseconds(100), [this] { greet_and_close(); });
  open(removal());
  ASSERT_TRUE(ended_);
  EXPECT_EQ(ended_->error().code(), Errc::kDisconnected) << ended_->error().message();
  EXPECT_EQ(link_failures_, 1);
}

}  // namespace
}  // namespace rsyncfs
