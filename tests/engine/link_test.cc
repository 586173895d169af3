// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/link.h"

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
const Error kRefusedError(Errc::kUnreachable, "connection refused");

TEST(LinkTest, BacksOffExponentiallyWithinBounds) {
  Link link;
  auto now = Clock::now();
  EXPECT_TRUE(link.may_attempt(now, false));
  auto previous = milliseconds(0);
  for (int i = 0; i < 12; ++i) {
    link.attempt_failed(kRefusedError, now);
    const auto wait = std::chrono::duration_cast<milliseconds>(link.next_attempt(false) - now);
    EXPECT_GE(wait, milliseconds(375));
    EXPECT_LE(wait, milliseconds(37'500));
    EXPECT_GE(wait * 2, previous) << "it must not shrink much";
    EXPECT_FALSE(link.may_attempt(now + wait - milliseconds(1), false));
    EXPECT_TRUE(link.may_attempt(now + wait, false));
    previous = wait;
    now += wait;
  }
  EXPECT_GE(previous, milliseconds(20'000));
}

TEST(LinkTest, SomebodyWaitingIsNotHeldForLong) {
  Link link;
  auto now = Clock::now();
  for (int i = 0; i < 10; ++i) link.attempt_failed(kRefusedError, now += seconds(1));
  EXPECT_FALSE(link.may_attempt(now + milliseconds(400), true));
  EXPECT_TRUE(link.may_attempt(now + milliseconds(600), true));
  EXPECT_FALSE(link.may_attempt(now + milliseconds(600), false));
}

TEST(LinkTest, SessionsThatBreakOneAfterTheOtherAreHeldBack) {
  Link link;
  auto now = Clock::now();
  link.connected("connected");
  link.session_broke(now);
  for (int i = 0; i < 5; ++i) link.session_broke(now + milliseconds(i));
  EXPECT_TRUE(link.may_attempt(now, false)) << "once is nothing, of however many sessions";
  link.session_broke(now += seconds(1));
  EXPECT_FALSE(link.may_attempt(now + milliseconds(300), false));
  EXPECT_FALSE(link.may_attempt(now + milliseconds(300), true));
  link.connected("connected");
  EXPECT_FALSE(link.may_attempt(now + milliseconds(300), true)) << "one that connects may break again";
  for (int i = 0; i < 5; ++i) link.session_broke(now += seconds(1));
  EXPECT_FALSE(link.may_attempt(now + milliseconds(4'000), false));
  EXPECT_TRUE(link.may_attempt(now + milliseconds(600), true)) << "somebody waits";
  EXPECT_EQ(link.state(), LinkState::kUp);
  now += std::chrono::minutes(5);
  link.session_broke(now);
  EXPECT_TRUE(link.may_attempt(now, false));
}

TEST(LinkTest, SaysWhatIsGoingOn) {
  Link link;
  auto now = Clock::now();
  EXPECT_EQ(link.text(now), "connecting");
  link.connected("connected, protocol 32, xxh128");
  EXPECT_EQ(link.state(), LinkState::kUp);
  EXPECT_EQ(link.text(now), "connected, protocol 32, xxh128");
  link.attempt_failed(kRefusedError, now);
  EXPECT_NE(link.text(now).find("connection refused"), std::string::npos);
  EXPECT_EQ(link.failure("30 s").code(), Errc::kUnreachable);
  link.stalled(Error(Errc::kTimedOut, "the server stopped answering"), now);
  EXPECT_EQ(link.failure("30 s").code(), Errc::kTimedOut);
  EXPECT_TRUE(link.may_attempt(now, true)) << "a new session may be tried at once";
  link.alive();
  EXPECT_EQ(link.state(), LinkState::kUp);
  EXPECT_EQ(link.failure("30 s").code(), Errc::kTimedOut);
}

TEST(LinkTest, AttemptsThatFailTogetherAreOne) {
  Link link;
  const auto now = Clock::now();
  for (int i = 0; i < 8; ++i) link.attempt_failed(kRefusedError, now + milliseconds(i));
  EXPECT_TRUE(link.may_attempt(now + milliseconds(700), false));
}

TEST(LinkTest, KnowsHowLongItHasBeenDown) {
  Link link;
  const auto now = Clock::now();
  link.attempt_failed(kRefusedError, now);
  link.attempt_failed(kRefusedError, now + std::chrono::seconds(5));
  EXPECT_EQ(link.down_for(now + std::chrono::seconds(8)), std::chrono::seconds(8));
  link.connected("");
  EXPECT_EQ(link.down_for(now + std::chrono::seconds(9)), std::chrono::seconds(0));
}

}  // namespace
}  // namespace rsyncfs
