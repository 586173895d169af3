// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/id_map.h"

#include <grp.h>
#include <pwd.h>

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

TEST(IdMap, TheWayBackIsTheSameWay) {
  const passwd* daemon = ::getpwnam("daemon");
  const group* games = ::getgrnam("games");
  ASSERT_NE(daemon, nullptr);
  ASSERT_NE(games, nullptr);
  IdMap ids(false);
  EXPECT_EQ(ids.source_uid(7), 7U);
  // Nobody here has the number 54321, or is called so.
  ids.learn({{54321, "daemon"}, {54323, "nobody by this name"}}, {{54322, "games"}});
  EXPECT_EQ(ids.local_uid(54321), daemon->pw_uid);
  EXPECT_EQ(ids.source_uid(daemon->pw_uid), 54321U);
  EXPECT_EQ(ids.source_gid(games->gr_gid), 54322U);
  EXPECT_EQ(ids.source_uid(54323), 54323U);
  // The source's 54321 is somebody else than ours.
  EXPECT_FALSE(ids.source_uid(54321).has_value());
  EXPECT_FALSE(ids.source_gid(54322).has_value());
  EXPECT_EQ(ids.source_uid(0), 0U);
}

TEST(IdMap, NumbersStayNumbers) {
  IdMap ids(true);
  ids.learn({{54321, "daemon"}}, {});
  EXPECT_EQ(ids.source_uid(1), 1U);
  EXPECT_EQ(ids.source_uid(54321), 54321U);
}

IdMap ruled(const std::string& rules) {
  Result<IdRules> parsed = parse_user_rules(rules);
  EXPECT_TRUE(parsed.ok()) << rules;
  return IdMap(false, parsed ? std::move(*parsed) : IdRules());
}

TEST(IdMap, TheFirstRuleThatMatchesDecides) {
  IdMap ids = ruled("100-199:7,ann:8,a*:9,:10,*:11");
  ids.learn({{150, "ann"}, {200, "ann"}, {201, "abe"}, {202, "joe"}}, {});
  EXPECT_EQ(ids.local_uid(150), 7U);
  EXPECT_EQ(ids.local_uid(200), 8U);
  EXPECT_EQ(ids.local_uid(201), 9U);
  EXPECT_EQ(ids.local_uid(300), 10U);
  EXPECT_EQ(ids.local_uid(202), 11U);
}

TEST(IdMap, WhoIsShownForOneAloneIsThatOne) {
  IdMap ids = ruled("54321:700,ann:701,55000-55999:702,54323:703,54324:703,800:801");
  ids.learn({{54'322, "ann"}}, {});
  EXPECT_EQ(ids.source_uid(700), 54'321U);
  EXPECT_EQ(ids.source_uid(701), 54'322U);
  // Of several it is the one that it would be without rules.
  EXPECT_EQ(ids.source_uid(702), 702U);
  EXPECT_EQ(ids.source_uid(703), 703U);
  EXPECT_EQ(ids.source_uid(5), 5U);
  // 800 of the source is shown as somebody else.
  EXPECT_FALSE(ids.source_uid(800).has_value());
  EXPECT_EQ(ids.source_uid(801), 800U);
}

TEST(IdMap, WrongRulesAreNamed) {
  for (const std::string rules :
       {"", "ann", "ann:", ":", "1-:5", "5-1:5", "1x:5", "ann:nobody by this name", "1:2,", "1:4294967295"})
    EXPECT_FALSE(parse_user_rules(rules).ok()) << rules;
}

}  // namespace
}  // namespace rsyncfs
