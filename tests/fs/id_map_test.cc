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

}  // namespace
}  // namespace rsyncfs
