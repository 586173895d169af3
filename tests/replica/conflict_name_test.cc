// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/conflict_name.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

constexpr FileTime kTime{1795730043, 123456789};  // 2026-11-26 21:54:03 UTC

TEST(ConflictName, SaysWhereAndWhen) {
  EXPECT_EQ(conflict_name("report.txt", "web-1.example", kTime),
            "report.txt.conflict-web-1.example-20261126T215403.123456Z");
  EXPECT_EQ(conflict_name("a", "b", kTime, 2), "a.conflict-b-20261126T215403.123456Z-2");
  EXPECT_EQ(conflict_name("a", "", kTime), "a.conflict-unknown-20261126T215403.123456Z");
  EXPECT_TRUE(may_be_conflict_name("a.conflict-unknown-20261126T215403.123456Z"));
  EXPECT_FALSE(may_be_conflict_name("a.conflict"));
  EXPECT_EQ(conflict_name("a", "x/y z\xff", kTime), "a.conflict-x_y_z_-20261126T215403.123456Z");
}

TEST(ConflictName, IsNeverTooLong) {
  for (const size_t length : {200U, 210U, 255U}) {
    for (const size_t host : {1U, 64U, 255U}) {
      const std::string name = conflict_name(std::string(length, 'n'), std::string(host, 'h'), kTime, 9999);
      EXPECT_LE(name.size(), kMaxNameBytes);
      EXPECT_GT(name.find(".conflict-h"), 100U);
      EXPECT_NE(name.find("20261126T215403.123456Z-9999"), std::string::npos);
    }
  }
}

TEST(ConflictName, IsNotCutWithinACharacter) {
  // Characters of 2, 3 and 4 bytes, so that the limit falls at every place of them.
  for (const std::string character : {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    for (size_t before = 0; before < 4; ++before) {
      std::string name(before, 'a');
      while (name.size() + character.size() <= kMaxNameBytes) name += character;
      const std::string cut = conflict_name(name, "host", kTime);
      const std::string kept = cut.substr(0, cut.find(".conflict-"));
      EXPECT_EQ((kept.size() - before) % character.size(), 0U);
      EXPECT_GT(cut.size(), kMaxNameBytes - 4);
    }
  }
  // What is no text is cut anywhere.
  EXPECT_EQ(conflict_name(std::string(255, '\x80'), "host", kTime).size(), kMaxNameBytes);
}

TEST(ConflictName, TakesTheFirstThatIsFree) {
  std::set<std::string, std::less<>> there;
  const auto taken = [&](std::string_view name) { return there.find(name) != there.end(); };
  for (const char* tail : {"", "-2", "-3"}) {
    const std::string name = free_conflict_name("a", "b", kTime, taken);
    EXPECT_EQ(name, std::string("a.conflict-b-20261126T215403.123456Z") + tail);
    there.insert(name);
  }
  EXPECT_EQ(free_conflict_name("a", "b", kTime, [](std::string_view) { return true; }), "");
}

}  // namespace
}  // namespace rsyncfs
