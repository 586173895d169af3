// SPDX-License-Identifier: GPL-3.0-or-later
// What is written as a list is read as the same list; the real rsync's bytes are in golden_push_test.cc.
#include <sys/stat.h>

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "sync/rsync/file_list_decoder.h"
#include "sync/rsync/file_list_encoder.h"
#include "tests/rsync/fake_server.h"
#include "tests/support/files.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

PushEntry entry_of(std::string path, uint32_t mode = S_IFREG | 0644) {
  PushEntry entry;
  entry.path = std::move(path);
  entry.mode = mode;
  return entry;
}

PushList list_of(PushKind kind, std::vector<PushEntry> entries) {
  auto list = PushList::create(kind, std::move(entries));
  RSYNCFS_CHECK(list.ok());
  return std::move(*list);
}

std::vector<std::string> order_of(const PushList& list) {
  std::vector<std::string> order;
  for (uint32_t ndx = 0; ndx < list.size(); ++ndx) order.push_back(list.entry(ndx).path);
  return order;
}

TEST(PushListOrder, ParentsAreAddedOnce) {
  const PushList list = list_of(PushKind::kData, {entry_of("b/c/d"), entry_of("z"), entry_of("b/c/e"),
                                                  entry_of("b.x"), entry_of("b/a")});
  EXPECT_EQ(order_of(list), (std::vector<std::string>{"b.x", "z", "b", "b/a", "b/c", "b/c/d", "b/c/e"}));
  EXPECT_EQ(list.place(0), 3u);
  EXPECT_EQ(list.place(2), std::nullopt);
  EXPECT_EQ(list.ndx(0), 5u);
  EXPECT_FALSE(list.entry(2).touch);
  EXPECT_EQ(list.given(), 5u);
}

TEST(PushListOrder, GivenParentsAreTaken) {
  PushEntry parent = entry_of("b", S_IFDIR | 0700);
  parent.touch = false;
  const PushList list = list_of(PushKind::kData, {entry_of("b/c"), parent});
  EXPECT_EQ(order_of(list), (std::vector<std::string>{"b", "b/c"}));
  EXPECT_EQ(list.place(0), 1u);
  EXPECT_EQ(list.entry(0).mode, static_cast<uint32_t>(S_IFDIR | 0700));
}

// What is missing has no type; it stands among what is no directory. Its parents are not made.
TEST(PushListOrder, MissingOnes) {
  const PushList list = list_of(
      PushKind::kDelete, {entry_of("d/x", 0), entry_of("d.", 0), entry_of("d", 0), entry_of("e/f/g", 0)});
  EXPECT_EQ(order_of(list), (std::vector<std::string>{"d", "d.", "d/x", "e/f/g"}));
}

std::string encode(const PushList& list, const ListFormat& format, const EntryParts& parts) {
  ByteQueue out;
  FileListEncoder(format, parts).write(list, {{0, "root"}, {7, "seven"}}, {{8, "eight"}}, out);
  return text_of(out);
}

FileList decode(const std::string& bytes, const ListFormat& format) {
  FileListDecoder decoder(format);
  const auto parsed = decoder.parse(bytes_of(bytes));
  RSYNCFS_CHECK(parsed.ok());
  RSYNCFS_CHECK(decoder.done());
  EXPECT_EQ(parsed->consumed, bytes.size());
  return decoder.take();
}

// Without anything to say an entry still has flags, and they never look like the end.
TEST(ListEncoder, FlagsAreNeverNothing) {
  for (const bool varint : {true, false}) {
    ListFormat format;
    format.varint_flags = varint;
    format.protocol = 31;
    PushEntry first = entry_of("a");
    PushEntry second = entry_of("b");
    first.mtime_s = first.uid = first.gid = 1;
    second.mtime_s = second.uid = second.gid = 2;
    second.mode = S_IFREG | 0600;
    const PushList list = list_of(PushKind::kData, {first, second});
    format.numeric_ids = true;
    const FileList read = decode(encode(list, format, {.owner = true}), format);
    ASSERT_EQ(read.size(), 2u);
    EXPECT_EQ(read.entry(1).mtime_s, 2);
  }
}

class Entries {
 public:
  explicit Entries(uint64_t seed) : random_(seed) {}

  PushEntry some(PushKind kind) {
    PushEntry entry = entry_of(path());
    if (kind == PushKind::kAttributes) {
      constexpr uint32_t kTypes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
      entry.mode = kTypes[below(std::size(kTypes))] | (below(3) == 0 ? below(07777) : 0644);
    }
    if (kind == PushKind::kLink) entry.hlink_group = static_cast<uint32_t>(1 + below(5));
    entry.size = below(4) == 0 ? random_() >> below(40) & INT64_MAX : below(100'000);
    entry.mtime_s =
        below(4) == 0 ? static_cast<int64_t>(below(uint64_t{1} << 40)) - (int64_t{1} << 38) : 1'700'000'000;
    entry.mtime_ns = below(2) == 0 ? 0 : static_cast<uint32_t>(below(1'000'000'000));
    entry.uid = below(2) == 0 ? 0 : static_cast<uint32_t>(random_());
    entry.gid = below(2) == 0 ? 8 : static_cast<uint32_t>(random_());
    if (S_ISCHR(entry.mode) || S_ISBLK(entry.mode)) {
      entry.rdev_major = static_cast<uint32_t>(below(3));
      entry.rdev_minor = static_cast<uint32_t>(random_());
    }
    if (S_ISLNK(entry.mode)) entry.link_target = std::string(1 + below(300), 't');
    entry.access_acl = acl(entry.mode);
    if (S_ISDIR(entry.mode) && below(3) == 0) entry.default_acl = acl(entry.mode);
    for (size_t i = below(4); i > 0; --i) {
      const std::string value = support::random_bytes(below(2) == 0 ? below(33) : below(100), below(5));
      entry.xattrs.push_back({"user.x" + std::to_string(i), value, value.size(), false});
    }
    return entry;
  }
  uint64_t below(uint64_t limit) { return random_() % limit; }

 private:
  std::string path() {
    std::string out;
    for (size_t depth = below(4) + 1; depth > 0; --depth) {
      if (!out.empty()) out += '/';
      out += std::string(1 + (below(20) == 0 ? below(254) : below(3)), static_cast<char>('a' + below(3)));
    }
    return out;
  }
  std::optional<PosixAcl> acl(uint32_t mode) {
    if (S_ISLNK(mode) || below(2) == 0) return std::nullopt;
    PosixAcl acl;
    acl.user_obj = mode >> 6 & 7;
    acl.group_obj = static_cast<uint8_t>(below(8));
    acl.mask_obj = mode >> 3 & 7;
    acl.other_obj = mode & 7;
    for (size_t i = below(3) + 1; i > 0; --i) {
      acl.names.push_back(
          {below(2) == 0, static_cast<uint32_t>(below(5)), "", static_cast<uint8_t>(below(8))});
    }
    return acl;
  }

  std::mt19937_64 random_;
};

void expect_same(const PushEntry& sent, const FileList& list, const FileEntry& read,
                 const ListFormat& format) {
  EXPECT_EQ(read.mode, sent.mode);
  if (S_ISREG(sent.mode) || S_ISDIR(sent.mode)) {
    EXPECT_EQ(read.size, sent.size);
  }
  EXPECT_EQ(read.mtime_s, sent.mtime_s);
  EXPECT_EQ(read.mtime_ns, format.protocol >= 31 ? sent.mtime_ns : 0u);
  EXPECT_EQ(read.uid, sent.uid);
  EXPECT_EQ(read.gid, sent.gid);
  const EntryExtra& extra = list.extra(read);
  EXPECT_EQ(extra.link_target, sent.link_target);
  EXPECT_EQ(extra.rdev_major, sent.rdev_major);
  EXPECT_EQ(extra.rdev_minor, sent.rdev_minor);
}

void expect_attributes(const PushEntry& sent, const FileList& list, const FileEntry& read) {
  const EntryExtra& extra = list.extra(read);
  // A name's permissions are what a receiver reads; what the mode says it knows.
  const bool has_acl = sent.access_acl.has_value();
  ASSERT_EQ(extra.access_acl >= 0, has_acl);
  if (has_acl) {
    const PosixAcl& acl = list.acls[static_cast<size_t>(extra.access_acl)];
    EXPECT_EQ(acl.names.size(), sent.access_acl->names.size());
    EXPECT_FALSE(acl.user_obj || acl.other_obj || acl.mask_obj);
    EXPECT_EQ(acl.group_obj.value_or(sent.mode >> 3 & 7), sent.access_acl->group_obj);
  }
  ASSERT_EQ(extra.default_acl >= 0, sent.default_acl.has_value());
  if (sent.default_acl) {
    EXPECT_EQ(list.acls[static_cast<size_t>(extra.default_acl)].mask_obj, sent.default_acl->mask_obj);
  }
  ASSERT_EQ(extra.xattrs >= 0, !sent.xattrs.empty());
  if (sent.xattrs.empty()) return;
  const XattrSet& set = list.xattr_sets[static_cast<size_t>(extra.xattrs)];
  ASSERT_EQ(set.size(), sent.xattrs.size());
  for (size_t i = 0; i < set.size(); ++i) {
    EXPECT_EQ(set[i].name, sent.xattrs[i].name);
    EXPECT_EQ(set[i].size, sent.xattrs[i].value.size());
    EXPECT_EQ(set[i].abbreviated, sent.xattrs[i].value.size() > 32);
    if (!set[i].abbreviated) {
      EXPECT_EQ(set[i].value, sent.xattrs[i].value);
    }
  }
}

// Whatever the list and the format, the reader of lists from real servers reads it, each entry at its index.
TEST(ListEncoder, ReadBack) {
  const uint64_t seed = support::test_seed();
  for (uint64_t round = 0; round < 120; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Entries entries(seed + round);
    ListFormat format;
    format.protocol = 30 + static_cast<int>(round % 3);
    format.varint_flags = round / 3 % 2 == 0;
    format.id0_names = round / 6 % 2 == 0;
    format.numeric_ids = round / 12 % 2 == 0;
    format.acls = format.xattrs = true;
    const PushKind kind = round % 2 == 0 ? PushKind::kAttributes : PushKind::kLink;
    std::vector<PushEntry> given;
    for (uint64_t i = entries.below(100) + 1; i > 0; --i) {
      PushEntry entry = entries.some(kind);
      const auto conflicts = [&](const PushEntry& other) {
        const auto below = [](const std::string& a, const std::string& b) { return a.starts_with(b + "/"); };
        return other.path == entry.path || (!S_ISDIR(other.mode) && below(entry.path, other.path)) ||
               (!S_ISDIR(entry.mode) && below(other.path, entry.path));
      };
      if (std::ranges::none_of(given, conflicts)) given.push_back(std::move(entry));
    }
    const PushList list = list_of(kind, std::move(given));
    const std::string bytes =
        encode(list, format, {.owner = true, .devices = true, .hard_links = kind == PushKind::kLink});
    const FileList read = decode(bytes, format);
    ASSERT_EQ(read.size(), list.size());
    std::map<uint32_t, uint32_t> groups;
    std::map<uint32_t, const PushEntry*> firsts;
    for (uint32_t ndx = 0; ndx < list.size(); ++ndx) {
      const PushEntry& sent = list.entry(ndx);
      const FileEntry& entry = read.entry(ndx);
      SCOPED_TRACE(sent.path);
      ASSERT_EQ(read.path(entry), sent.path);
      const uint32_t group = S_ISREG(sent.mode) ? sent.hlink_group : 0;
      if (group != 0) {
        EXPECT_EQ(groups.emplace(group, read.extra(entry).hlink_group).first->second,
                  read.extra(entry).hlink_group);
      }
      // A further name of an inode has what its first name has.
      const PushEntry& meant = group == 0 ? sent : *firsts.emplace(group, &sent).first->second;
      expect_same(meant, read, entry, format);
      if (&meant == &sent) expect_attributes(sent, read, entry);
    }
    EXPECT_EQ(read.user_names.contains(7), !format.numeric_ids);
    EXPECT_EQ(read.group_names.contains(8), !format.numeric_ids);
    if (testing::Test::HasFailure()) break;
  }
}

// Equal sets are sent once, unless a value is only listed by its digest: that would be asked for but once.
TEST(ListEncoder, EqualAttributesAreSentOnce) {
  ListFormat format;
  format.xattrs = true;
  format.numeric_ids = true;
  for (const size_t size : {32u, 33u}) {
    std::vector<PushEntry> entries;
    for (const char* name : {"a", "b"}) {
      entries.push_back(entry_of(name));
      entries.back().xattrs = {{"user.x", std::string(size, 'x'), size, false}};
    }
    const FileList read = decode(encode(list_of(PushKind::kData, entries), format, {}), format);
    EXPECT_EQ(read.xattr_sets.size(), size > 32 ? 2u : 1u);
  }
}

}  // namespace
}  // namespace rsyncfs
