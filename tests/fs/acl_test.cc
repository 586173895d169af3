// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/tree/acl.h"

#include <grp.h>
#include <pwd.h>

#include <string>

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

std::string entry(uint16_t tag, uint16_t permissions, uint32_t id) {
  std::string bytes;
  for (const unsigned shift : {0U, 8U}) bytes.push_back(static_cast<char>(tag >> shift));
  for (const unsigned shift : {0U, 8U}) bytes.push_back(static_cast<char>(permissions >> shift));
  for (const unsigned shift : {0U, 8U, 16U, 24U}) bytes.push_back(static_cast<char>(id >> shift));
  return bytes;
}

std::string acl(uint32_t user, uint32_t group) {
  return std::string("\2\0\0\0", 4) + entry(0x01, 6, UINT32_MAX) + entry(0x02, 7, user) +
         entry(0x04, 4, UINT32_MAX) + entry(0x08, 5, group) + entry(0x10, 7, UINT32_MAX) +
         entry(0x20, 4, UINT32_MAX);
}

TEST(Acl, NamedIdsBecomeLocal) {
  const passwd* daemon = ::getpwnam("daemon");
  const group* games = ::getgrnam("games");
  ASSERT_NE(daemon, nullptr);
  ASSERT_NE(games, nullptr);
  IdMap ids(false);
  ids.learn({{54321, "daemon"}}, {{54322, "games"}});
  EXPECT_EQ(map_acl_ids(acl(54321, 54322), ids), acl(daemon->pw_uid, games->gr_gid));
  EXPECT_EQ(map_acl_ids(acl(11111, 22222), ids), acl(11111, 22222));
  EXPECT_EQ(unmap_acl_ids(acl(daemon->pw_uid, games->gr_gid), ids), acl(54321, 54322));
  EXPECT_FALSE(unmap_acl_ids(acl(54321, 1), ids));
}

TEST(Acl, TheModeIsThreeOfItsEntries) {
  EXPECT_EQ(mode_of_acl(acl(1, 2))->permissions, 0674U);
  EXPECT_FALSE(mode_of_acl(acl(1, 2))->says_it_all);
  const std::string plain = std::string("\2\0\0\0", 4) + entry(0x01, 6, UINT32_MAX) +
                            entry(0x04, 4, UINT32_MAX) + entry(0x20, 0, UINT32_MAX);
  EXPECT_EQ(mode_of_acl(plain)->permissions, 0640U);
  EXPECT_TRUE(mode_of_acl(plain)->says_it_all);
  EXPECT_EQ(mode_of_acl(*acl_after_chmod(plain, 0751))->permissions, 0751U);
  EXPECT_EQ(mode_of_acl(*acl_after_chmod(acl(1, 2), 0751))->permissions, 0751U);
  EXPECT_FALSE(mode_of_acl("no"));
}

TEST(Acl, WhatIsMadeGetsWhatBothAllow) {
  const auto file = inherit_acl(acl(1, 2), 0602);
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->permissions, 0600U);
  EXPECT_EQ(mode_of_acl(file->access)->permissions, 0600U);
  EXPECT_FALSE(inherit_acl(std::string("\2\0\0\0", 4), 0644));
}

TEST(Acl, WhatIsNoAclIsLeftAlone) {
  const IdMap ids(true);
  EXPECT_FALSE(map_acl_ids("", ids));
  EXPECT_FALSE(map_acl_ids(std::string("\3\0\0\0", 4), ids));
  EXPECT_FALSE(map_acl_ids(std::string("\2\0\0\0", 4) + "short", ids));
  EXPECT_TRUE(map_acl_ids(std::string("\2\0\0\0", 4), ids));
  EXPECT_TRUE(is_posix_acl("system.posix_acl_default"));
  EXPECT_FALSE(is_posix_acl("user.posix_acl_default"));
}

}  // namespace
}  // namespace rsyncfs
