// SPDX-License-Identifier: GPL-3.0-or-later
// The list decoder, its order, and the traps of its format.
#include <sys/stat.h>

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "sync/rsync/file_list_decoder.h"
#include "sync/rsync/file_list_sort.h"
#include "tests/rsync/fake_server.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

ListFormat bare_format() {
  ListFormat format;
  format.numeric_ids = true;
  return format;
}

Result<FileList> decode(std::string_view text, const ListFormat& format = bare_format(),
                        const ListLimits& limits = {}) {
  FileListDecoder decoder(format, limits);
  const auto parsed = decoder.parse(bytes_of(text));
  if (!parsed.ok()) return parsed.error();
  if (!decoder.done()) return Error(Errc::kCanceled, "incomplete");
  EXPECT_EQ(parsed->consumed, text.size());
  return decoder.take();
}

Errc error_of(std::string_view text, const ListFormat& format = bare_format(),
              const ListLimits& limits = {}) {
  const auto list = decode(text, format, limits);
  return list.ok() ? Errc::kUsage : list.error().code();  // kUsage stands for none
}

TEST(FileListDecoder, NamesSharePrefixesAndOtherFieldsRepeat) {
  const std::string text = plain_entry("dir", S_IFDIR | 0755, 4096) +
                           Wire()
                               .varint(kNanoseconds)
                               .u8(5)
                               .raw("dir/a")
                               .varlong(7, 3)
                               .varlong(-86400, 4)
                               .varint(12)
                               .le32(S_IFREG | 04755)
                               .varint(1000)
                               .varint(-2)
                               .text() +
                           Wire()
                               .varint(kSameName | kSameTime | kSameMode | kSameUid | kSameGid)
                               .u8(4)
                               .u8(2)
                               .raw("bc")
                               .varlong(int64_t{1} << 40, 3)
                               .text() +
                           end_of_list();
  const auto list = decode(text);
  ASSERT_TRUE(list.ok()) << list.error().message();
  ASSERT_EQ(list->size(), 3u);
  const FileEntry& a = list->entry(1);
  EXPECT_EQ(list->path(a), "dir/a");
  EXPECT_EQ(a.mode, S_IFREG | 04755u);
  EXPECT_EQ(a.mtime_s, -86400);
  EXPECT_EQ(a.mtime_ns, 12u);
  EXPECT_EQ(a.uid, 1000u);
  EXPECT_EQ(a.gid, 0xfffffffeu);
  const FileEntry& bc = list->entry(2);
  EXPECT_EQ(list->path(bc), "dir/bc");
  EXPECT_EQ(bc.size, uint64_t{1} << 40);
  EXPECT_EQ(bc.mode, a.mode);
  EXPECT_EQ(bc.mtime_s, a.mtime_s);
  EXPECT_EQ(bc.mtime_ns, 0u);  // nanoseconds are not remembered
  EXPECT_EQ(bc.gid, a.gid);
  EXPECT_EQ(list->dirnames.size(), 2u);  // "" and "dir", once
  EXPECT_EQ(sizeof(FileEntry), 48u);
}

TEST(FileListDecoder, UnusableNamesAreRefused) {
  for (const std::string name :
       {"", "..", "a/../b", "../a", "/a", "/", "a/", "a//b", "./a", "a/.", "a/./b", "a/.."}) {
    EXPECT_EQ(error_of(plain_entry(name) + end_of_list()), Errc::kProtocol) << name;
  }
  EXPECT_EQ(error_of(plain_entry(std::string("a\0b", 3)) + end_of_list()), Errc::kProtocol);
  EXPECT_EQ(error_of(plain_entry(".") + end_of_list()), Errc::kProtocol);  // a root that is a file
  std::string deep;
  while (deep.size() < 4096) deep += "d/";
  EXPECT_EQ(error_of(plain_entry(deep + "x") + end_of_list()), Errc::kProtocol);
  for (const std::string name : {"...", "a..", ".a", "..a/b", " ", "-", "\\", "\xff", "a\nb"}) {
    EXPECT_EQ(error_of(plain_entry(name) + end_of_list()), Errc::kUsage) << name;
  }
  EXPECT_EQ(error_of(plain_entry(std::string(255, 'x')) + end_of_list()), Errc::kUsage);
  EXPECT_EQ(error_of(plain_entry(".", S_IFDIR | 0755) + end_of_list()), Errc::kUsage);
}

TEST(FileListDecoder, WhatCannotBeShownKeepsItsIndex) {
  const std::string longest(255, 'm');
  const std::string too_long(256, 'm');
  const std::string text = plain_entry("z") + plain_entry(too_long) + plain_entry(longest) +
                           plain_entry(too_long + "d", S_IFDIR | 0755) + plain_entry(too_long + "d/in") +
                           plain_entry("door", 0150000 | 0666) + plain_entry("n", 0777) + plain_entry("a") +
                           plain_entry(too_long + "d/deep/in") + plain_entry("dir/" + too_long) +
                           plain_entry("dir/ok") + plain_entry("door", S_IFREG | 0644, 7) +
                           plain_entry("dir/deep/in") + end_of_list();
  const auto list = decode(text);
  ASSERT_TRUE(list.ok()) << list.error().message();
  std::vector<std::string> order;
  std::vector<std::string> shown;
  for (uint32_t ndx = 0; ndx < list->size(); ++ndx) {
    const std::string path = list->path(list->entry(ndx));
    order.push_back(path);
    if (list->entry(ndx).usable()) shown.push_back(path);
    EXPECT_EQ(list->find(path).has_value(), list->entry(ndx).usable() || path == "door") << path;
  }
  EXPECT_EQ(order, (std::vector<std::string>{"a", "door", "door", longest, too_long, "n", "z",
                                             "dir/" + too_long, "dir/ok", "dir/deep/in", too_long + "d",
                                             too_long + "d/in", too_long + "d/deep/in"}));
  EXPECT_EQ(shown, (std::vector<std::string>{"a", "door", longest, "z", "dir/ok", "dir/deep/in"}));
  EXPECT_EQ(list->unusable, 7u);
  EXPECT_EQ(list->entry(*list->find("door")).size, 7u);  // the second of that name
}

TEST(FileListDecoder, BadFieldsAreRefused) {
  // Sharing more of the previous name than it has.
  EXPECT_EQ(error_of(plain_entry("ab") +
                     Wire()
                         .varint(kSameName | kSameTime | kSameMode | kSameUid | kSameGid)
                         .u8(3)
                         .name("c")
                         .varlong(1, 3)
                         .text() +
                     end_of_list()),
            Errc::kProtocol);
  for (const uint32_t mode : {0x10000u | S_IFREG, 0xffffffffu}) {
    EXPECT_EQ(error_of(plain_entry("a", mode) + end_of_list()), Errc::kProtocol) << mode;
  }
  EXPECT_EQ(error_of(plain_entry("a", 0) + end_of_list()), Errc::kUsage);  // "does not exist"
  EXPECT_EQ(error_of(plain_entry("a", S_IFREG, -1) + end_of_list()), Errc::kProtocol);
  EXPECT_EQ(error_of(Wire()
                         .varint(kNanoseconds | kSameUid | kSameGid)
                         .name("a")
                         .varlong(1, 3)
                         .varlong(1, 4)
                         .varint(1'000'000'000)
                         .le32(S_IFREG)
                         .text()),
            Errc::kProtocol);
  EXPECT_EQ(error_of(Wire().varint(0x4000).text()), Errc::kProtocol);
  EXPECT_EQ(error_of(Wire().varint(0x20000000).text()), Errc::kProtocol);
  // Symbolic links: a target of at most 4095 bytes, none of them NUL.
  const std::string link = plain_entry("l", S_IFLNK | 0777, 3);
  EXPECT_EQ(error_of(link + Wire().varint(4096).raw(std::string(4096, 'x')).text() + end_of_list()),
            Errc::kProtocol);
  EXPECT_EQ(error_of(link + Wire().varint(-1).text()), Errc::kProtocol);
  EXPECT_EQ(error_of(link + Wire().varint(3).raw(std::string("a\0b", 3)).text()), Errc::kProtocol);
  EXPECT_EQ(error_of(link + Wire().varint(3).raw("abc").text() + end_of_list()), Errc::kUsage);
}

TEST(FileListDecoder, IoErrorInBothEncodingsMasked) {
  EXPECT_EQ(decode(plain_entry("a") + end_of_list(0xff))->io_error, 7u);
  EXPECT_EQ(decode(plain_entry("a") + end_of_list(1))->io_error, 1u);
  ListFormat old = bare_format();
  old.varint_flags = false;
  const std::string entry =
      Wire().u8(kSameUid | kSameGid).name("a").varlong(1, 3).varlong(1, 4).le32(S_IFREG | 0644).text();
  EXPECT_EQ(decode(entry + Wire().u8(0).text(), old)->io_error, 0u);
  EXPECT_EQ(decode(entry + Wire().u8(kExtended).u8(0x10).varint(0xfd).text(), old)->io_error, 5u);
}

TEST(FileListDecoder, FlagsOfOneOrTwoBytes) {
  ListFormat old = bare_format();
  old.varint_flags = false;
  const std::string text =
      Wire().u8(kSameUid | kSameGid).name("a").varlong(1, 3).varlong(1, 4).le32(S_IFREG | 0644).text() +
      Wire()
          .u8(kExtended | kSameUid | kSameGid | kSameMode)
          .u8(kNanoseconds >> 8)
          .name("b")
          .varlong(2, 3)
          .varlong(5, 4)
          .varint(77)
          .text() +
      Wire().u8(0).text();
  const auto list = decode(text, old);
  ASSERT_TRUE(list.ok()) << list.error().message();
  EXPECT_EQ(list->entry(1).mtime_ns, 77u);
}

std::string special(std::string_view name, uint32_t mode, int flags = 0) {
  return Wire().varint(kSameUid | kSameGid | kSameTime | flags).name(name).varlong(0, 3).le32(mode).text();
}

TEST(FileListDecoder, DeviceNumbersCarryTheMajor) {
  const std::string text = special("a", S_IFCHR | 0600) + Wire().varint(4).varint(64).text() +
                           special("b", S_IFBLK | 0600, kSameMajor) + Wire().varint(65).text() +
                           special("c", S_IFIFO | 0600) + special("d", S_IFSOCK | 0600) +
                           special("e", S_IFCHR | 0600, kSameMajor) + Wire().varint(66).text() +
                           end_of_list();
  const auto list = decode(text);
  ASSERT_TRUE(list.ok()) << list.error().message();
  EXPECT_EQ(list->extra(list->entry(0)).rdev_major, 4u);
  EXPECT_EQ(list->extra(list->entry(1)).rdev_minor, 65u);
  EXPECT_EQ(list->entry(2).extra, 0u);
  EXPECT_EQ(list->extra(list->entry(4)).rdev_major, 4u);
  EXPECT_EQ(list->extra(list->entry(4)).rdev_minor, 66u);
}

TEST(FileListDecoder, InProtocol30SpecialFilesCarryADeviceNumberToo) {
  ListFormat format = bare_format();
  format.protocol = 30;
  // The major is always "the same" for them, and the next device's is still the last device's.
  const std::string text = special("a", S_IFCHR | 0600) + Wire().varint(4).varint(64).text() +
                           special("b", S_IFIFO | 0600, kSameMajor) + Wire().varint(0).text() +
                           special("c", S_IFCHR | 0600, kSameMajor) + Wire().varint(65).text() +
                           end_of_list();
  const auto list = decode(text, format);
  ASSERT_TRUE(list.ok()) << list.error().message();
  EXPECT_EQ(list->entry(1).extra, 0u);
  EXPECT_EQ(list->extra(list->entry(2)).rdev_major, 4u);
  EXPECT_EQ(list->extra(list->entry(2)).rdev_minor, 65u);
}

std::string linked(std::string_view name, int first) {
  Wire wire;
  wire.varint(kLinked | kSameUid | kSameGid | (first < 0 ? kLinkFirst : 0)).name(name);
  if (first < 0) return wire.varlong(5, 3).varlong(99, 4).le32(S_IFREG | 0600).text();
  return wire.varint(first).text();
}

TEST(FileListDecoder, HardLinksNameTheirFirstInTransmissionOrder) {
  // "z" comes first on the wire and last in the order; the group survives the sorting.
  const std::string text =
      linked("z", -1) + plain_entry("m") + linked("a", 0) + linked("y", -1) + linked("b", 3) + end_of_list();
  const auto list = decode(text);
  ASSERT_TRUE(list.ok()) << list.error().message();
  const auto group = [&](const char* path) {
    return list->extra(list->entry(*list->find(path))).hlink_group;
  };
  EXPECT_NE(group("z"), 0u);
  EXPECT_EQ(group("z"), group("a"));
  EXPECT_EQ(group("y"), group("b"));
  EXPECT_NE(group("y"), group("z"));
  EXPECT_EQ(group("m"), 0u);
  const FileEntry& a = list->entry(*list->find("a"));
  EXPECT_EQ(a.size, 5u);
  EXPECT_EQ(a.mtime_s, 99);
  EXPECT_EQ(a.mode, S_IFREG | 0600u);
}

TEST(FileListDecoder, HardLinksToNothingAreRefused) {
  EXPECT_EQ(error_of(linked("a", 0) + end_of_list()), Errc::kProtocol);  // itself
  EXPECT_EQ(error_of(linked("a", -1) + linked("b", 1) + end_of_list()), Errc::kProtocol);
  EXPECT_EQ(error_of(linked("a", -1) + linked("b", 7) + end_of_list()), Errc::kProtocol);
  EXPECT_EQ(error_of(plain_entry("a") + linked("b", 0) + end_of_list()), Errc::kProtocol);
  EXPECT_EQ(error_of(linked("a", -1) + linked("b", 0) + linked("c", 1) + end_of_list()), Errc::kProtocol);
}

ListFormat with_attributes() {
  ListFormat format = bare_format();
  format.acls = format.xattrs = true;
  return format;
}

TEST(FileListDecoder, AclsAreSentOnceAndThenNumbered) {
  ListFormat format = bare_format();
  format.acls = true;
  const std::string named = Wire()
                                .varint(0)
                                .u8(1 | 16)
                                .varint(6)
                                .varint(2)
                                .varint(1000)
                                .varint(7 << 2 | 2)
                                .varint(100)
                                .varint(5 << 2 | 1)
                                .name("users")
                                .text();
  const std::string trivial = Wire().varint(0).u8(0).text();
  const std::string text =
      plain_entry("a") + named + plain_entry("b") + trivial + plain_entry("c") + Wire().varint(1).text() +
      plain_entry("d", S_IFDIR | 0755) + Wire().varint(2).text() + Wire().varint(0).u8(8).varint(5).text() +
      plain_entry("e", S_IFDIR | 0755) + Wire().varint(1).varint(1).text() +
      plain_entry("l", S_IFLNK | 0777, 1) + Wire().varint(1).raw("x").text() + end_of_list();
  const auto list = decode(text, format);
  ASSERT_TRUE(list.ok()) << list.error().message();
  const auto extra = [&](const char* path) { return list->extra(list->entry(*list->find(path))); };
  ASSERT_EQ(extra("a").access_acl, 0);
  const PosixAcl& acl = list->acls[0];
  EXPECT_EQ(acl.user_obj, 6);
  EXPECT_FALSE(acl.group_obj || acl.mask_obj || acl.other_obj);
  ASSERT_EQ(acl.names.size(), 2u);
  EXPECT_EQ(acl.names[0], (AclName{true, 1000, "", 7}));
  EXPECT_EQ(acl.names[1], (AclName{false, 100, "users", 5}));
  EXPECT_EQ(list->group_names.at(100), "users");
  EXPECT_EQ(list->entry(*list->find("b")).extra, 0u);  // says nothing beyond the mode
  EXPECT_EQ(extra("c").access_acl, 0);
  EXPECT_EQ(extra("d").access_acl, -1);
  EXPECT_EQ(extra("d").default_acl, 1);
  EXPECT_EQ(list->acls[1].other_obj, 5);
  EXPECT_EQ(extra("e").access_acl, 0);
  EXPECT_EQ(extra("e").default_acl, 1);  // default ACLs are numbered apart
}

TEST(FileListDecoder, BadAclsAreRefused) {
  ListFormat format = bare_format();
  format.acls = true;
  const std::string a = plain_entry("a");
  EXPECT_EQ(error_of(a + Wire().varint(1).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(a + Wire().varint(-1).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(a + Wire().varint(0).u8(32).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(a + Wire().varint(0).u8(1).varint(8).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(a + Wire().varint(0).u8(16).varint(65537).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(a + Wire().varint(0).u8(16).varint(1).varint(1).varint(8 << 2).text(), format),
            Errc::kProtocol);
}

std::string xattr(std::string_view name, std::string_view value, int size = -1) {
  return Wire()
      .varint(static_cast<int64_t>(name.size()) + 1)
      .varint(size < 0 ? static_cast<int64_t>(value.size()) : size)
      .raw(name)
      .u8(0)
      .raw(value)
      .text();
}

TEST(FileListDecoder, XattrsAreSentOnceAndThenNumbered) {
  ListFormat format = with_attributes();
  format.acls = false;
  const std::string digest(16, '\1');
  for (const int protocol : {30, 31, 32}) {  // one encoding for all
    format.protocol = protocol;
    const std::string text = plain_entry("a") + Wire().varint(0).varint(2).text() + xattr("user.z", "value") +
                             xattr("user.b", digest, 33) + plain_entry("b") +
                             Wire().varint(0).varint(0).text() + plain_entry("c") + Wire().varint(1).text() +
                             plain_entry("d") + Wire().varint(2).text() + end_of_list();
    const auto list = decode(text, format);
    ASSERT_TRUE(list.ok()) << list.error().message();
    ASSERT_EQ(list->xattr_sets.size(), 2u);
    EXPECT_EQ(list->xattr_sets[0][0], (ListedXattr{"user.b", digest, 33, true}));
    EXPECT_EQ(list->xattr_sets[0][1], (ListedXattr{"user.z", "value", 5, false}));
    EXPECT_EQ(list->extra(list->entry(2)).xattrs, 0);
    EXPECT_EQ(list->entry(1).extra, 0u);
    EXPECT_EQ(list->entry(3).extra, 0u);
  }
}

TEST(FileListDecoder, BadXattrsAreRefused) {
  ListFormat format = with_attributes();
  format.acls = false;
  const std::string a = plain_entry("a");
  EXPECT_EQ(error_of(a + Wire().varint(1).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(a + Wire().varint(0).varint(65537).text(), format), Errc::kProtocol);
  const std::string one = a + Wire().varint(0).varint(1).text();
  EXPECT_EQ(error_of(one + Wire().varint(3).varint(1).raw("abcx").text(), format),
            Errc::kProtocol);  // no NUL
  EXPECT_EQ(error_of(one + Wire().varint(1).varint(1).u8(0).raw("x").text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(one + Wire().varint(0).varint(0).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(one + xattr(std::string("a\0b", 3), "x"), format), Errc::kProtocol);
  EXPECT_EQ(error_of(one + Wire().varint(5000).varint(1).text(), format), Errc::kProtocol);
  EXPECT_EQ(error_of(one + Wire().varint(3).varint(-1).text(), format), Errc::kProtocol);
}

TEST(FileListDecoder, IdListsFollow) {
  ListFormat format;
  const std::string entry = plain_entry("a");
  const auto list =
      decode(entry + end_of_list() + Wire().varint(1).name("daemon").varint(0).name("root").text() +
                 Wire().varint(-2).name("nogroup").varint(0).name("").text(),
             format);
  ASSERT_TRUE(list.ok()) << list.error().message();
  EXPECT_EQ(list->user_names.at(1), "daemon");
  EXPECT_EQ(list->user_names.at(0), "root");
  EXPECT_EQ(list->group_names.at(0xfffffffe), "nogroup");
  EXPECT_FALSE(list->group_names.contains(0));
  format.id0_names = false;
  const auto old =
      decode(entry + end_of_list() + Wire().varint(1).name("daemon").varint(0).varint(0).text(), format);
  ASSERT_TRUE(old.ok());
  EXPECT_EQ(old->user_names.size(), 1u);
}

TEST(FileListDecoder, LimitsEndIt) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += plain_entry("f" + std::to_string(i));
  EXPECT_EQ(error_of(text + end_of_list(), bare_format(), {.max_entries = 199, .max_bytes = 1 << 20}),
            Errc::kLimit);
  EXPECT_EQ(error_of(text + end_of_list(), bare_format(), {.max_entries = 200, .max_bytes = 1 << 20}),
            Errc::kUsage);
  EXPECT_EQ(error_of(text + end_of_list(), bare_format(), {.max_entries = 200, .max_bytes = 9000}),
            Errc::kLimit);
  // Short entries that unfold into long directory names count by what they unfold to.
  std::string unfolding = plain_entry(std::string(240, 'a') + "/x");
  for (int i = 0; i < 1000; ++i) {
    unfolding += Wire()
                     .varint(kSameName | kSameTime | kSameMode | kSameUid | kSameGid)
                     .u8(240)
                     .name(std::string(1, static_cast<char>('a' + i % 26)) + "/x")
                     .varlong(0, 3)
                     .text();
  }
  EXPECT_LT(unfolding.size(), 20'000u);
  EXPECT_EQ(error_of(unfolding + end_of_list(), bare_format(), {.max_entries = 2000, .max_bytes = 100'000}),
            Errc::kLimit);
}

TEST(FileListDecoder, DirectoriesCountByTheirPaths) {
  // Ten bytes on the wire each, below one parent of 250.
  constexpr int kDirectories = 1000;
  const std::string parent = std::string(250, 'p');
  std::string text = plain_entry(parent + "/a", S_IFDIR | 0755);
  for (int i = 0; i < kDirectories; ++i) {
    text += Wire()
                .varint(kSameName | kSameTime | kSameMode | kSameUid | kSameGid)
                .u8(251)
                .name(std::string(1, static_cast<char>('a' + i % 26)))
                .varlong(0, 3)
                .text();
  }
  EXPECT_LT(text.size(), 12'000u);
  EXPECT_EQ(error_of(text + end_of_list(), bare_format(), {.max_entries = 2000, .max_bytes = 250'000}),
            Errc::kLimit);
  EXPECT_EQ(error_of(text + end_of_list(), bare_format(), {.max_entries = 2000, .max_bytes = 500'000}),
            Errc::kUsage);
}

// rsync's order, written as its rules are told: components one by one, files before directories, "." first.
bool told_before(std::string_view a, bool a_dir, std::string_view b, bool b_dir) {
  const auto parts = [](std::string_view path) {
    std::vector<std::string> out;
    if (path == ".") return out;
    while (true) {
      const size_t slash = path.find('/');
      out.emplace_back(path.substr(0, slash));
      if (slash == std::string_view::npos) return out;
      path.remove_prefix(slash + 1);
    }
  };
  const auto pa = parts(a);
  const auto pb = parts(b);
  for (size_t i = 0; i < std::min(pa.size(), pb.size()); ++i) {
    const bool da = i + 1 < pa.size() || a_dir;
    const bool db = i + 1 < pb.size() || b_dir;
    if (da != db) return db;
    const std::string x = pa[i] + (da ? "/" : "");
    const std::string y = pb[i] + (db ? "/" : "");
    if (x != y)
      return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end(), [](char c, char d) {
        return static_cast<unsigned char>(c) < static_cast<unsigned char>(d);
      });
  }
  return pa.size() < pb.size();
}

TEST(FileListOrder, IsRsyncs) {
  const auto seed = static_cast<uint32_t>(support::test_seed());
  std::mt19937 random(seed);
  const auto component = [&] {
    constexpr std::string_view kBytes = "ab.-/!\x80\xff 0";
    std::string out;
    const size_t size = 1 + random() % 3;
    while (out.size() < size) {
      const char c = kBytes[random() % kBytes.size()];
      if (c != '/') out += c;
    }
    return out == "." || out == ".." ? out + "x" : out;
  };
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (int i = 0; i < 60; ++i) {
      std::string path = component();
      for (uint32_t depth = random() % 3; depth > 0; --depth) path += "/" + component();
      if (random() % 30 == 0) path = ".";
      const bool dir = path == "." || random() % 3 == 0;
      text += plain_entry(path, dir ? S_IFDIR | 0755 : S_IFREG | 0644, i);
    }
    const auto list = decode(text + end_of_list());
    ASSERT_TRUE(list.ok()) << list.error().message();
    for (size_t i = 1; i < list->size(); ++i) {
      const FileEntry& a = list->entry(static_cast<uint32_t>(i - 1));
      const FileEntry& b = list->entry(static_cast<uint32_t>(i));
      const std::string pa = list->path(a);
      const std::string pb = list->path(b);
      ASSERT_FALSE(told_before(pb, S_ISDIR(b.mode), pa, S_ISDIR(a.mode))) << pa << " before " << pb;
      const int order = compare_list_order(list->dirname(a), list->basename(a), S_ISDIR(a.mode),
                                           list->dirname(b), list->basename(b), S_ISDIR(b.mode));
      ASSERT_LE(order, 0);
      ASSERT_EQ(order == 0, pa == pb && S_ISDIR(a.mode) == S_ISDIR(b.mode));
      // Equal names keep the order they came in, and none is dropped.
      if (order == 0) {
        ASSERT_LT(a.size, b.size);
      }
    }
    for (const FileEntry& e : list->entries) {
      const auto found = list->find(list->path(e));
      ASSERT_TRUE(found);
      ASSERT_EQ(list->path(list->entry(*found)), list->path(e));
    }
    ASSERT_EQ(list->size(), 60u);
  }
}

TEST(FileListOrder, FindsNothingThatIsNotThere) {
  const auto list =
      decode(plain_entry("d", S_IFDIR | 0755) + plain_entry("d/a") + plain_entry("f") + end_of_list());
  ASSERT_TRUE(list.ok());
  for (const char* path : {"", ".", "e", "d/", "d/b", "a", "d/a/x", "/d", "f/", "dd"})
    EXPECT_FALSE(list->find(path)) << path;
  EXPECT_EQ(list->find("f"), 0u);
  EXPECT_EQ(list->find("d"), 1u);
  EXPECT_EQ(list->find("d/a"), 2u);
  EXPECT_GT(list->memory_bytes(), 3 * sizeof(FileEntry));
}

}  // namespace
}  // namespace rsyncfs
