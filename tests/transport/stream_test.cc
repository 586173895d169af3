// SPDX-License-Identifier: GPL-3.0-or-later
// A stream over one end of a socket pair; the test holds the other end.
#include "sync/transport/stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <gtest/gtest.h>

#include "io/base/unique_fd.h"
#include "tests/support/files.h"
#include "tests/transport/transport_rig.h"

namespace rsyncfs::test {
namespace {

using support::random_bytes;

class StreamTest : public TransportTest {
 protected:
  void SetUp() override {
    TransportTest::SetUp();
    if (IsSkipped()) return;
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = UniqueFd(ends[0]);
    on_loop([&] { stream = std::make_unique<Stream>(loop(), ends[1], ends[1], nullptr); });
  }
  void start() {
    on_loop([this] { stream->start(seen); });
  }
  void write_peer(std::string_view text) {
    ASSERT_EQ(::send(peer.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  bool comes_to_an_end() {
    return eventually([this] { return seen.ended(); });
  }
  // Whether our end is closed for good: the peer reads to the end.
  bool is_closed() {
    pollfd ready{peer.get(), POLLIN, 0};
    char byte = 0;
    const bool closed = ::poll(&ready, 1, static_cast<int>(milliseconds(kPatience).count())) == 1 &&
                        ::recv(peer.get(), &byte, 1, MSG_DONTWAIT) <= 0;
    on_loop([] {});  // what the loop wrote before it closed is seen here
    return closed;
  }

  UniqueFd peer;
};

TEST_P(StreamTest, WhatWasSentBeforeAHalfCloseComesWhole) {
  const std::string text = random_bytes(150'000, 1);
  write_peer(text);
  ASSERT_EQ(::shutdown(peer.get(), SHUT_WR), 0);
  start();
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_TRUE(seen.bytes == text);
  EXPECT_TRUE(seen.end->ok());
  EXPECT_EQ(seen.ends, 1);
}

TEST_P(StreamTest, APeerThatLeavesHasItsLastWordThoughOurWriteFails) {
  const std::string text = random_bytes(100'000, 2);
  write_peer(text);
  peer.reset();
  on_loop([this] {  // the write is under way before the first byte is read
    ByteQueue data;
    data.append(std::as_bytes(std::span("nobody reads this")));
    stream->send(data);
    stream->start(seen);
  });
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_TRUE(seen.bytes == text);
  EXPECT_EQ(seen.ends, 1);
}

TEST_P(StreamTest, MoreThanTheSocketHoldsGoesOutInOrder) {
  start();
  std::string expected;
  for (uint64_t seed = 0; seed < 64; ++seed) {
    const std::string piece = random_bytes(50'000, seed);
    expected += piece;
    send(piece);
  }
  EXPECT_GT(on_loop([this] { return stream->unsent(); }), 0U);
  const timeval limit{milliseconds(kPatience).count() / 1000, 0};
  ASSERT_EQ(::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  std::string got(expected.size(), '\0');
  ASSERT_EQ(::recv(peer.get(), got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(got.size()));
  EXPECT_TRUE(got == expected);
  EXPECT_TRUE(eventually([this] { return stream->unsent() == 0; }));
  EXPECT_EQ(on_loop([this] { return stream->bytes_out(); }), expected.size());
}

TEST_P(StreamTest, PausedItReadsNothingMore) {
  seen.on_change = [this] { stream->set_paused(true); };
  start();
  write_peer("one");
  ASSERT_TRUE(eventually([this] { return seen.bytes == "one"; }));
  write_peer("two");
  EXPECT_FALSE(eventually([this] { return seen.bytes != "one"; }, milliseconds(200)));
  on_loop([this] { stream->set_paused(false); });
  EXPECT_TRUE(eventually([this] { return seen.bytes == "onetwo"; }));
}

TEST_P(StreamTest, PausedItStillTellsThatWritingFails) {
  seen.on_change = [this] { stream->set_paused(true); };
  start();
  write_peer("one");
  ASSERT_TRUE(eventually([this] { return seen.bytes == "one"; }));
  peer.reset();
  send("nobody reads this");
  ASSERT_TRUE(comes_to_an_end());
  EXPECT_FALSE(seen.end->ok());
}

TEST_P(StreamTest, ItMayBeDestroyedWhenBytesCome) {
  seen.on_change = [this] { stream.reset(); };
  start();
  write_peer("one");
  EXPECT_TRUE(is_closed());
  EXPECT_EQ(seen.bytes, "one");
  EXPECT_EQ(seen.ends, 0);
}

TEST_P(StreamTest, ItMayBeDestroyedWhenItEnds) {
  seen.on_change = [this] { stream.reset(); };
  start();
  ASSERT_EQ(::shutdown(peer.get(), SHUT_WR), 0);
  EXPECT_TRUE(is_closed());
  EXPECT_EQ(seen.ends, 1);
}

TEST_P(StreamTest, DestroyedWhileItReadsAndWritesItSaysNothing) {
  start();
  send(random_bytes(4 << 20, 3));
  EXPECT_GT(on_loop([this] { return stream->unsent(); }), 0U);
  on_loop([this] { stream.reset(); });
  // What the socket held comes still, then its end.
  std::string rest(8 << 20, '\0');
  const timeval limit{milliseconds(kPatience).count() / 1000, 0};
  ASSERT_EQ(::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  EXPECT_LT(::recv(peer.get(), rest.data(), rest.size(), MSG_WAITALL), 4 << 20);
  EXPECT_TRUE(is_closed());
  on_loop([] {});
  EXPECT_EQ(seen.ends, 0);
}

INSTANTIATE_TEST_SUITE_P(Engines, StreamTest, kEngines, engine_name);

}  // namespace
}  // namespace rsyncfs::test
