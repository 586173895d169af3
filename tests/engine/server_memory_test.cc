// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/server_memory.h"

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

constexpr int64_t kNow = 1'800'000'000;

ServerFeatures proven() {
  ServerFeatures out;
  out.abilities = ServerAbilities{.protocol = 31, .negotiates = true, .asks_login = true};
  out.abilities_seen = true;
  return out;
}

TEST(ServerMemory, GivesBackWhatItWasTold) {
  ServerFeatures features = proven();
  features.acls = features.report_missing = features.keeps = false;
  features.anchored = true;
  const ServerFeatures back = server_from_text(server_to_text(features, kNow), kNow + 1);
  EXPECT_EQ(back.abilities, features.abilities);
  EXPECT_FALSE(back.abilities_seen);
  EXPECT_FALSE(back.acls);
  EXPECT_FALSE(back.report_missing);
  EXPECT_FALSE(back.keeps);
  EXPECT_TRUE(back.anchored);
  EXPECT_TRUE(back.xattrs && back.hard_links && back.fsync && back.append && back.deletes);
}

TEST(ServerMemory, RefusalsAreForgottenAfterADayAndAbilitiesAreNot) {
  ServerFeatures features = proven();
  features.acls = false;
  const std::string text = server_to_text(features, kNow);
  EXPECT_FALSE(server_from_text(text, kNow + kRefusalsHoldS - 1).acls);
  EXPECT_TRUE(server_from_text(text, kNow + kRefusalsHoldS).acls);
  EXPECT_TRUE(server_from_text(text, kNow - 1).acls) << "a clock that was set back";
  EXPECT_EQ(server_from_text(text, kNow + kRefusalsHoldS).abilities, features.abilities);
}

TEST(ServerMemory, WhatIsNotUnderstoodIsNothing) {
  for (const char* text : {"", "protocol=", "protocol=99 since=1", "protocol=32", "since=5",
                           "protocol=32 since=x", "not:acls", "\n\n"}) {
    const ServerFeatures back = server_from_text(text, kNow);
    EXPECT_FALSE(back.abilities) << text;
    EXPECT_TRUE(back.acls) << text;
  }
  EXPECT_TRUE(server_from_text("protocol=32 since=1799999999 unknown not:unknown", kNow).abilities);
}

TEST(ServerMemory, OnlyWhatWasProvedAndIsNewIsNews) {
  ServerMemory memory{ServerFeatures()};
  ServerFeatures features = proven();
  features.abilities_seen = false;
  EXPECT_EQ(memory.news(features), "");
  features.abilities_seen = true;
  EXPECT_NE(memory.news(features), "");
  EXPECT_EQ(memory.news(features), "");
  features.append = false;
  EXPECT_NE(memory.news(features).find("not:append"), std::string::npos);
  EXPECT_EQ(memory.news(features), "");
}

// Otherwise each mount would make them younger, and none would ever be tried again.
TEST(ServerMemory, AFurtherAbilityMakesRefusalsNoYounger) {
  ServerFeatures features = proven();
  features.append = false;
  ServerMemory memory{server_from_text("protocol=32 since=1800000000 not:append", kNow + 5)};
  EXPECT_NE(memory.news(features).find("since=1800000000"), std::string::npos);
}

}  // namespace
}  // namespace rsyncfs
