// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/listing.h"

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

std::string hex(const std::string& bytes) {
  std::string out;
  for (const unsigned char c : bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

// What getxattr(2) gave for: setfacl -m u:1000:rw,g:50:r FILE (mode 0640 before, mask rw after).
TEST(AclXattrTest, MatchesTheKernelsFormat) {
  PosixAcl acl;
  acl.names = {{true, 1000, "", 6}, {false, 50, "", 4}};
  acl.group_obj = 4;
  EXPECT_EQ(hex(acl_xattr_value(acl, 0100660, false)),
            "02000000"
            "01000600ffffffff"
            "02000600e8030000"
            "04000400ffffffff"
            "0800040032000000"
            "10000600ffffffff"
            "20000000ffffffff");
}

TEST(AclXattrTest, SaysNothingWhereTheModeSaysAll) {
  EXPECT_EQ(acl_xattr_value({}, 0100644, false), "");
  EXPECT_EQ(acl_xattr_value({}, 0040755, true), "");
  PosixAcl plain_default;
  plain_default.user_obj = 7;
  plain_default.group_obj = 5;
  plain_default.other_obj = 0;
  EXPECT_EQ(hex(acl_xattr_value(plain_default, 0040755, true)),
            "02000000"
            "01000700ffffffff"
            "04000500ffffffff"
            "20000000ffffffff");
}

class ListBuilder {
 public:
  void add(const std::string& dir, const std::string& name, uint32_t mode, uint32_t group = 0) {
    FileEntry entry;
    entry.mode = mode;
    entry.name_offset = static_cast<uint32_t>(list.arena.size());
    entry.name_length = static_cast<uint16_t>(name.size());
    list.arena += name;
    if (list.dirnames.empty() || list.dirnames.back() != dir) list.dirnames.push_back(dir);
    entry.dirname = static_cast<uint32_t>(list.dirnames.size() - 1);
    if (group != 0) {
      EntryExtra extra;
      extra.hlink_group = group;
      list.extras.push_back(extra);
      entry.extra = static_cast<uint32_t>(list.extras.size());
      entry.flags |= FileEntry::kHardLinked;
    }
    list.entries.push_back(entry);
  }
  FileList list;
};

TEST(ListingTest, GroupsByDirectoryParentsFirstNamesSorted) {
  ListBuilder b;
  b.add("", ".", 040755);
  b.add("", "z", 0100644);
  b.add("", "a", 040755);
  b.add("a", "y", 0100644);
  b.add("a", "b", 040755);
  b.add("a/b", "x", 0100644);
  b.add("a", "c", 0100644);
  Listing listing(b.list, true, true);
  EXPECT_EQ(listing.directories(), (std::vector<std::string>{"", "a", "a/b"}));
  const auto names = listing.names("a");
  ASSERT_EQ(names.size(), 3U);
  EXPECT_EQ(names[0].name, "b");
  EXPECT_EQ(names[1].name, "c");
  EXPECT_EQ(names[2].name, "y");
  EXPECT_EQ(listing.names("").size(), 2U) << "the root's own entry is no name in it";
}

TEST(ListingTest, LinkCountsAreKnownFromTheWholeTreeOnly) {
  ListBuilder b;
  b.add("", "one", 0100644, 7);
  b.add("d", "two", 0100644, 7);
  b.add("d", "alone", 0100644);
  Listing whole(b.list, true, true);
  EXPECT_EQ(whole.names("")[0].attr.nlink, 2U);
  EXPECT_EQ(whole.names("d")[0].attr.nlink, 1U);
  EXPECT_EQ(whole.names("d")[1].attr.nlink, 2U);
  Listing part(b.list, false, true);
  EXPECT_EQ(part.names("")[0].attr.nlink, 0U) << "unknown";
  EXPECT_EQ(part.names("d")[0].attr.nlink, 1U);
}

TEST(ListingTest, DuplicatesAndMissingNamesAreDropped) {
  ListBuilder b;
  b.add("", "a", 0100644);
  b.add("", "a", 0100600);
  b.add("", "gone", 0);
  Listing listing(b.list, false, true);
  const auto names = listing.names("");
  ASSERT_EQ(names.size(), 1U);
  EXPECT_EQ(names[0].attr.mode, 0100644U) << "the first one counts";
}

}  // namespace
}  // namespace rsyncfs
