// SPDX-License-Identifier: GPL-3.0-or-later
// Changes through the Tree, over a real store and a source that is a stand-in.
#include <fcntl.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/tree/acl.h"
#include "tests/fs/tree_rig.h"
#include "tests/support/files.h"

namespace rsyncfs::testing {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;

const Caller kUser{1000, 1000, 022, {}};

int errno_number(const Error& error) {
  return error.os_errno();
}

class TreeChangeTest : public ::testing::Test, public TreeRig {
 protected:
  Result<Entry> make(NodeId parent, std::string_view name, uint32_t mode, const Caller& caller = kUser) {
    return wait_for<Entry>([&](auto done) {
      tree->make(parent, name, NewFile{.mode = mode, .caller = caller}, std::move(done));
    });
  }
  Result<Entry> create(NodeId parent, std::string_view name, CreateFlags flags) {
    return wait_for<Entry>([&](auto done) {
      tree->create(parent, name, NewFile{.mode = S_IFREG | 0644, .caller = kUser}, flags, std::move(done));
    });
  }
  Result<void> unlink(NodeId parent, std::string_view name) {
    return wait_for<void>([&](auto done) { tree->unlink(parent, name, std::move(done)); });
  }
  Result<void> rmdir(NodeId parent, std::string_view name) {
    return wait_for<void>([&](auto done) { tree->rmdir(parent, name, std::move(done)); });
  }
  Result<void> rename(NodeId parent, std::string_view name, NodeId new_parent, std::string_view new_name,
                      RenameMode mode = RenameMode::kReplace) {
    return wait_for<void>(
        [&](auto done) { tree->rename(parent, name, new_parent, new_name, mode, std::move(done)); });
  }
  Result<size_t> write(NodeId id, uint64_t offset, std::string_view text, bool append = false,
                       const Caller& caller = kUser) {
    return wait_for<size_t>([&](auto done) {
      tree->write(id, offset, std::as_bytes(std::span(text)), append, caller, std::move(done));
    });
  }
  Result<struct stat> setattr(NodeId id, const AttributeRequest& request, const Caller& caller = kUser) {
    return wait_for<struct stat>([&](auto done) { tree->setattr(id, request, caller, std::move(done)); });
  }
  Result<void> setxattr(NodeId id, std::string_view name, std::string_view value, SetXattrFlags flags = {},
                        const Caller& caller = kUser) {
    return wait_for<void>(
        [&](auto done) { tree->setxattr(id, name, value, flags, caller, std::move(done)); });
  }
  Result<void> removexattr(NodeId id, std::string_view name) {
    return wait_for<void>([&](auto done) { tree->removexattr(id, name, std::move(done)); });
  }
  Result<void> sync(NodeId id) {
    return wait_for<void>([&](auto done) { tree->sync(id, std::move(done)); });
  }
  Result<uint64_t> copy(NodeId from, uint64_t from_offset, NodeId to, uint64_t to_offset, uint64_t length) {
    return wait_for<uint64_t>(
        [&](auto done) { tree->copy(from, from_offset, to, to_offset, length, kUser, std::move(done)); });
  }
  // Another Tree over the same parts.
  void restart(TreeOptions options) {
    tree.reset();
    options.events = &notifier;
    tree = std::make_unique<Tree>(*replica, syncer, executor, options);
  }
  NodeId new_file(std::string_view name) {
    const Result<Entry> made = make(kRootNode, name, S_IFREG | 0644);
    if (!made) throw std::runtime_error(made.error().message());
    return made->node;
  }
};

// ---- names ----

TEST_F(TreeChangeTest, NewThingsAreTheCallersAndKnown) {
  const Entry file = *make(kRootNode, "file", S_IFREG | 0666);
  EXPECT_EQ(file.attr.st_mode, static_cast<mode_t>(S_IFREG | 0644));
  EXPECT_EQ(file.attr.st_uid, 1000U);
  EXPECT_EQ(file.attr.st_gid, 1000U);
  EXPECT_EQ(file.attr.st_nlink, 1U);
  EXPECT_EQ(tree->lookups().count(file.node), 1U);
  EXPECT_EQ(lookup(kRootNode, "file")->node, file.node);
  const Entry directory = *make(kRootNode, "directory", S_IFDIR | 0777);
  EXPECT_EQ(directory.attr.st_mode, static_cast<mode_t>(S_IFDIR | 0755));
  EXPECT_EQ(directory.attr.st_nlink, 2U);
  const Entry link = *wait_for<Entry>([&](auto done) {
    tree->make(kRootNode, "link", NewFile{.mode = S_IFLNK, .link_target = "a/b", .caller = kUser},
               std::move(done));
  });
  EXPECT_EQ(link.attr.st_mode, static_cast<mode_t>(S_IFLNK | 0777));
  EXPECT_EQ(*wait_for<std::string>([&](auto done) { tree->readlink(link.node, std::move(done)); }), "a/b");
  const Entry device = *wait_for<Entry>([&](auto done) {
    tree->make(kRootNode, "device",
               NewFile{.mode = S_IFCHR | 0600, .rdev = makedev(10, 70'000), .caller = kUser},
               std::move(done));
  });
  EXPECT_EQ(device.attr.st_rdev, makedev(10, 70'000));
  EXPECT_EQ(errno_number(make(kRootNode, "file", S_IFREG | 0644).error()), EEXIST);
  EXPECT_EQ(errno_number(make(kRootNode, std::string(256, 'x'), S_IFREG).error()), ENAMETOOLONG);
  EXPECT_TRUE(make(kRootNode, std::string(255, 'x'), S_IFREG).ok());
}

TEST_F(TreeChangeTest, WhatIsThereAlreadyIsOpenedUnlessExclusive) {
  const NodeId file = new_file("file");
  ASSERT_TRUE(write(file, 0, "words").ok());
  EXPECT_EQ(errno_number(create(kRootNode, "file", {.exclusive = true}).error()), EEXIST);
  EXPECT_EQ(create(kRootNode, "file", {})->node, file);
  EXPECT_EQ(*read(file, 0, 100), "words");
  EXPECT_EQ(create(kRootNode, "file", {.truncate = true})->attr.st_size, 0);
  EXPECT_EQ(tree->lookups().count(file), 3U);
}

TEST_F(TreeChangeTest, AnUnlistedDirectoryIsListedBeforeANameIsMade) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  syncer.unlist(d);
  syncer.on_list([this](NodeId id) -> Result<void> {
    list_quietly(id, {file("taken", 3)});
    return {};
  });
  EXPECT_EQ(errno_number(make(d, "taken", S_IFREG | 0644).error()), EEXIST);
  EXPECT_EQ(syncer.lists(), 1U);
  EXPECT_TRUE(make(d, "free", S_IFREG | 0644).ok());
  EXPECT_EQ(syncer.lists(), 1U);
}

TEST_F(TreeChangeTest, ADirectoryIsListedBeforeItIsTakenForEmpty) {
  const NodeId d = list(kRootNode, {directory("d"), directory("empty")}).at("d");
  syncer.unlist(kRootNode);
  syncer.unlist(d);
  syncer.on_list([this, d](NodeId id) -> Result<void> {
    if (id == d) list_quietly(id, {file("inside", 3)});
    return {};
  });
  EXPECT_EQ(errno_number(rmdir(kRootNode, "d").error()), ENOTEMPTY);
  EXPECT_EQ(syncer.lists(), 2U);
  EXPECT_TRUE(rmdir(kRootNode, "empty").ok());
  EXPECT_EQ(rmdir(kRootNode, "empty").error().code(), Errc::kNotFound);
}

TEST_F(TreeChangeTest, ADirectoryIsListedBeforeItIsReplaced) {
  const auto nodes = list(kRootNode, {directory("a"), directory("b")});
  syncer.unlist(nodes.at("b"));
  syncer.on_list([this](NodeId id) -> Result<void> {
    list_quietly(id, {file("inside", 3)});
    return {};
  });
  EXPECT_EQ(errno_number(rename(kRootNode, "a", kRootNode, "b").error()), ENOTEMPTY);
  ASSERT_TRUE(unlink(nodes.at("b"), "inside").ok());
  EXPECT_TRUE(rename(kRootNode, "a", kRootNode, "b").ok());
  EXPECT_EQ(lookup(kRootNode, "b")->node, nodes.at("a"));
}

TEST_F(TreeChangeTest, AChangeThatWaitsForTheSourceCanBeInterrupted) {
  const auto nodes = list(kRootNode, {directory("a"), directory("b")});
  syncer.unlist(nodes.at("a"));
  syncer.unlist(nodes.at("b"));
  // In the first wait and in the second.
  for (const bool first_answers : {false, true}) {
    if (first_answers) {
      syncer.on_list([this, &nodes](NodeId id) -> Result<void> {
        list_quietly(id, {});
        if (id == nodes.at("a")) syncer.on_list(nullptr);
        return {};
      });
    }
    std::promise<Result<void>> answer;
    const RequestId request = tree->rename(nodes.at("a"), "x", nodes.at("b"), "x", RenameMode::kReplace,
                                           [&](Result<void> done) { answer.set_value(std::move(done)); });
    ASSERT_NE(request, 0U);
    ASSERT_TRUE(syncer.wait_for_waiting(1, seconds(10)));
    tree->cancel(request);
    auto future = answer.get_future();
    ASSERT_EQ(future.wait_for(seconds(10)), std::future_status::ready);
    EXPECT_EQ(future.get().error().code(), Errc::kCanceled);
  }
}

TEST_F(TreeChangeTest, NothingIsMadeWhereTheSourceCannotBeAsked) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  syncer.unlist(d);
  syncer.on_list([](NodeId) -> Result<void> { return Error(Errc::kTimedOut, "no answer"); });
  EXPECT_EQ(make(d, "x", S_IFREG | 0644).error().code(), Errc::kTimedOut);
  EXPECT_EQ(unlink(d, "x").error().code(), Errc::kTimedOut);
}

TEST_F(TreeChangeTest, WhatIsRemovedWhileOpenWorksUntilItIsForgotten) {
  const NodeId file = new_file("file");
  ASSERT_TRUE(write(file, 0, "before").ok());
  ASSERT_TRUE(unlink(kRootNode, "file").ok());
  EXPECT_EQ(lookup(kRootNode, "file")->node, 0U);
  EXPECT_EQ(getattr(file)->st_nlink, 0U);
  ASSERT_TRUE(write(file, 6, " after").ok());
  EXPECT_EQ(*read(file, 0, 100), "before after");
  tree->forget(file, 1);
  tree->drain_forgets();
  EXPECT_EQ(getattr(file).error().code(), Errc::kVanished);
  EXPECT_EQ(write(file, 0, "x").error().code(), Errc::kVanished);
}

TEST_F(TreeChangeTest, WhatNobodyHoldsIsGoneAtOnce) {
  const NodeId theirs = list(kRootNode, {testing::file("file", 3)}).at("file");
  ASSERT_TRUE(unlink(kRootNode, "file").ok());
  tree->drain_forgets();
  // The source has it until it was told: its attributes are needed for that.
  EXPECT_EQ(lookup(kRootNode, "file")->node, 0U);
  const NodeId own = new_file("own");
  tree->forget(own, 1);
  ASSERT_TRUE(unlink(kRootNode, "own").ok());
  tree->drain_forgets();
  EXPECT_EQ(replica->node(own).error().code(), Errc::kNotFound);
  EXPECT_TRUE(replica->node(theirs).ok());
}

TEST_F(TreeChangeTest, AnUnnamedFileGetsAName) {
  const Entry made = *wait_for<Entry>([&](auto done) {
    tree->make_unnamed(kRootNode, NewFile{.mode = S_IFREG | 0600, .caller = kUser}, std::move(done));
  });
  EXPECT_EQ(made.attr.st_nlink, 0U);
  ASSERT_TRUE(write(made.node, 0, "text").ok());
  const Entry linked =
      *wait_for<Entry>([&](auto done) { tree->link(made.node, kRootNode, "named", std::move(done)); });
  EXPECT_EQ(linked.node, made.node);
  EXPECT_EQ(linked.attr.st_nlink, 1U);
  EXPECT_EQ(*read(lookup(kRootNode, "named")->node, 0, 10), "text");
}

TEST_F(TreeChangeTest, NothingIsMadeInARemovedDirectory) {
  const NodeId d = make(kRootNode, "d", S_IFDIR | 0755)->node;
  ASSERT_TRUE(rmdir(kRootNode, "d").ok());
  EXPECT_EQ(make(d, "x", S_IFREG | 0644).error().code(), Errc::kNotFound);
}

// ---- owners and permissions ----

TEST_F(TreeChangeTest, AGroupDirectoryPassesItsGroupOn) {
  Name shared = directory("shared", 02775);
  shared.attr.gid = 77;
  const NodeId d = list(kRootNode, {shared}).at("shared");
  const Entry file = *make(d, "file", S_IFREG | 0666);
  EXPECT_EQ(file.attr.st_gid, 77U);
  EXPECT_EQ(file.attr.st_mode, static_cast<mode_t>(S_IFREG | 0644));
  const Entry directory = *make(d, "below", S_IFDIR | 0777);
  EXPECT_EQ(directory.attr.st_gid, 77U);
  EXPECT_EQ(directory.attr.st_mode, static_cast<mode_t>(S_IFDIR | S_ISGID | 0755));
}

TEST_F(TreeChangeTest, MadeUpOwnersCannotBeChanged) {
  Name theirs = directory("d");
  theirs.attr.uid = 500;
  theirs.attr.gid = 600;
  const NodeId d = list(kRootNode, {theirs}).at("d");
  restart({.shown = {.uid = 1000, .gid = 1000, .file_mask = 0077, .directory_mask = 0}});
  const Entry made = *make(d, "file", S_IFREG | 0644);
  EXPECT_EQ(made.attr.st_uid, 1000U);
  EXPECT_EQ(made.attr.st_mode & 0777, 0600U);
  EXPECT_EQ(replica->node(made.node)->attr.uid, 500U);
  EXPECT_EQ(replica->node(made.node)->attr.gid, 600U);
  EXPECT_TRUE(setattr(made.node, {.uid = 1000, .gid = 1000}).ok());
  EXPECT_EQ(errno_number(setattr(made.node, {.uid = 0}).error()), EPERM);
  EXPECT_EQ(errno_number(setattr(made.node, {.gid = 5}).error()), EPERM);
  // Hidden bits stay what they are.
  EXPECT_EQ(setattr(made.node, {.permissions = 0700})->st_mode & 0777, 0700U);
  EXPECT_EQ(replica->node(made.node)->attr.mode & 0777, 0744U);
}

TEST_F(TreeChangeTest, SetIdBitsGoWithTheBytes) {
  const Caller root{0, 0, 022, {}};
  const Caller member{1000, 1000, 022, [](uint32_t gid) { return gid == 77; }};
  struct Case {
    uint32_t before;
    const Caller& who;
    uint32_t after;
  };
  for (const Case& c : {Case{06777, root, 06777}, Case{06777, kUser, 0777}, Case{04766, kUser, 0766},
                        Case{02767, kUser, 0767}, Case{02767, member, 02767}, Case{02777, member, 0777}}) {
    const NodeId id = new_file("file");
    ASSERT_TRUE(setattr(id, {.permissions = c.before, .uid = 0, .gid = 77}, root).ok());
    const auto permissions = [&] { return getattr(id)->st_mode & 07777U; };
    const auto again = [&] {
      ASSERT_TRUE(setattr(id, {.permissions = c.before}, root).ok());
      EXPECT_EQ(permissions(), c.before);
    };
    again();
    ASSERT_TRUE(write(id, 0, "x", false, c.who).ok());
    EXPECT_EQ(permissions(), c.after) << std::oct << c.before;
    again();
    ASSERT_TRUE(setattr(id, {.size = 10}, c.who).ok());
    EXPECT_EQ(permissions(), c.after) << std::oct << c.before;
    again();
    ASSERT_TRUE(wait_for<void>([&](auto done) { tree->truncate(id, c.who, std::move(done)); }).ok());
    EXPECT_EQ(permissions(), c.after) << std::oct << c.before;
    again();
    ASSERT_TRUE(wait_for<void>([&](auto done) {
                  tree->allocate(id, AllocateMode::kAllocate, 0, 10, c.who, std::move(done));
                }).ok());
    EXPECT_EQ(permissions(), c.after) << std::oct << c.before;
    ASSERT_TRUE(unlink(kRootNode, "file").ok());
  }
  const NodeId owned = new_file("owned");
  ASSERT_TRUE(setattr(owned, {.permissions = 06755}, root).ok());
  EXPECT_EQ(setattr(owned, {.uid = 5}, root)->st_mode & 07777, 0755U);
}

TEST_F(TreeChangeTest, TimesAreTakenToTheNanosecond) {
  const NodeId file = new_file("file");
  const struct stat st = *setattr(file, {.mtime = FileTime{-5, 123'456'789}, .atime = FileTime{7, 8}});
  EXPECT_EQ(st.st_mtim.tv_sec, -5);
  EXPECT_EQ(st.st_mtim.tv_nsec, 123'456'789);
  EXPECT_EQ(st.st_atim.tv_sec, 7);
  EXPECT_EQ(st.st_atim.tv_nsec, 8);
  EXPECT_GT(st.st_ctim.tv_sec, 1'700'000'000);
}

// ---- extended attributes and ACLs ----

TEST_F(TreeChangeTest, ExtendedAttributesAreSetAndRemoved) {
  const NodeId file = new_file("file");
  const std::string large(40'000, 'v');
  ASSERT_TRUE(setxattr(file, "user.small", "1").ok());
  ASSERT_TRUE(setxattr(file, "user.large", large).ok());
  EXPECT_EQ(*getxattr(file, "user.small"), "1");
  EXPECT_EQ(*getxattr(file, "user.large"), large);
  EXPECT_THAT(*listxattr(file), ElementsAre("user.large", "user.small"));
  EXPECT_EQ(errno_number(setxattr(file, "user.small", "2", {.must_be_new = true}).error()), EEXIST);
  EXPECT_EQ(errno_number(setxattr(file, "user.none", "2", {.must_be_there = true}).error()), ENODATA);
  EXPECT_TRUE(setxattr(file, "user.small", "3", {.must_be_there = true}).ok());
  EXPECT_EQ(*getxattr(file, "user.small"), "3");
  EXPECT_TRUE(removexattr(file, "user.small").ok());
  EXPECT_EQ(errno_number(removexattr(file, "user.small").error()), ENODATA);
  EXPECT_THAT(*listxattr(file), ElementsAre("user.large"));
  EXPECT_EQ(errno_number(setxattr(file, "user.rsyncfs.state", "x").error()), EPERM);
  EXPECT_EQ(setxattr(file, "odd.name", "x").error().code(), Errc::kUnsupported);
  EXPECT_EQ(getxattr(file, "odd.name").error().code(), Errc::kUnsupported);
  EXPECT_EQ(errno_number(setxattr(file, "user.long", std::string(65'537, 'x')).error()), E2BIG);
}

TEST_F(TreeChangeTest, SoManyExtendedAttributesAndNoMore) {
  const NodeId file = new_file("file");
  Result<void> set;
  int count = 0;
  while (set && count < 2000)
    set = setxattr(file, "user." + std::string(230, 'n') + std::to_string(count++), "");
  ASSERT_FALSE(set.ok());
  EXPECT_EQ(errno_number(set.error()), ENOSPC);
  EXPECT_GT(count, 200);
}

TEST_F(TreeChangeTest, WhatTheSourceIsNotAskedForCannotBeSet) {
  const NodeId file = new_file("file");
  restart({.xattrs = false, .acls = false});
  EXPECT_EQ(setxattr(file, "user.x", "1").error().code(), Errc::kUnsupported);
  EXPECT_EQ(setxattr(file, kAccessAcl, "1").error().code(), Errc::kUnsupported);
}

struct AclText {
  AclText& add(uint16_t tag, uint16_t permissions, uint32_t id = UINT32_MAX) {
    const uint16_t head[2] = {tag, permissions};
    bytes.append(reinterpret_cast<const char*>(head), sizeof head);
    bytes.append(reinterpret_cast<const char*>(&id), sizeof id);
    return *this;
  }
  std::string bytes{"\2\0\0\0", 4};
};

std::string acl(uint16_t owner, uint16_t user, uint16_t group, uint16_t mask, uint16_t other) {
  return AclText().add(1, owner).add(2, user, 1234).add(4, group).add(0x10, mask).add(0x20, other).bytes;
}

TEST_F(TreeChangeTest, AnAccessAclAndTheModeAreOne) {
  const NodeId file = new_file("file");
  ASSERT_TRUE(setxattr(file, kAccessAcl, acl(6, 7, 4, 6, 1)).ok());
  EXPECT_EQ(getattr(file)->st_mode & 0777, 0661U);
  EXPECT_EQ(setattr(file, {.permissions = 0750})->st_mode & 0777, 0750U);
  EXPECT_EQ(*getxattr(file, kAccessAcl), acl(7, 7, 4, 5, 0));
  // Nothing in it that the mode does not say.
  const std::string plain = AclText().add(1, 6).add(4, 4).add(0x20, 0).bytes;
  ASSERT_TRUE(setxattr(file, kAccessAcl, plain).ok());
  EXPECT_EQ(getattr(file)->st_mode & 0777, 0640U);
  EXPECT_TRUE(listxattr(file)->empty());
  EXPECT_TRUE(removexattr(file, kAccessAcl).ok());
  EXPECT_EQ(errno_number(setxattr(file, kAccessAcl, "short").error()), EINVAL);
}

TEST_F(TreeChangeTest, SettingAnAclTakesAForeignGroupsBit) {
  const Caller root{0, 0, 022, {}};
  const NodeId file = new_file("file");
  ASSERT_TRUE(setattr(file, {.permissions = 02755, .gid = 77}, root).ok());
  ASSERT_TRUE(setxattr(file, kAccessAcl, acl(7, 7, 5, 7, 5), {}, root).ok());
  EXPECT_EQ(getattr(file)->st_mode & 07777, 02775U);
  ASSERT_TRUE(setxattr(file, kAccessAcl, acl(7, 7, 5, 7, 5), {}, kUser).ok());
  EXPECT_EQ(getattr(file)->st_mode & 07777, 0775U);
}

TEST_F(TreeChangeTest, ADefaultAclTakesTheUmasksPlace) {
  const NodeId d = make(kRootNode, "d", S_IFDIR | 0777)->node;
  ASSERT_TRUE(setxattr(d, kDefaultAcl, acl(7, 7, 5, 7, 0)).ok());
  EXPECT_EQ(getattr(d)->st_mode & 0777, 0755U);
  const Entry file = *make(d, "file", S_IFREG | 0666, {1000, 1000, 077, {}});
  EXPECT_EQ(file.attr.st_mode & 0777, 0660U);
  EXPECT_EQ(*getxattr(file.node, kAccessAcl), acl(6, 7, 5, 6, 0));
  EXPECT_THAT(*listxattr(file.node), ElementsAre(std::string(kAccessAcl)));
  const Entry below = *make(d, "below", S_IFDIR | 0777);
  EXPECT_THAT(*listxattr(below.node), ElementsAre(std::string(kAccessAcl), std::string(kDefaultAcl)));
  EXPECT_EQ(*getxattr(below.node, kDefaultAcl), acl(7, 7, 5, 7, 0));
  EXPECT_EQ(errno_number(setxattr(file.node, kDefaultAcl, acl(7, 7, 5, 7, 0)).error()), EACCES);
}

// ---- bytes ----

TEST_F(TreeChangeTest, WhatIsNotHereIsFetchedAroundTheChange) {
  const NodeId id = list(kRootNode, {file("file", 10)}).at("file");
  ASSERT_TRUE(write(id, 3, "XY").ok());
  EXPECT_EQ(syncer.reads(), 0U);
  EXPECT_EQ(*read(id, 3, 2), "XY");
  EXPECT_EQ(syncer.reads(), 0U);
  syncer.on_read([](NodeId) { return "0123456789"; });
  EXPECT_EQ(*read(id, 0, 100), "012XY56789");
  EXPECT_EQ(syncer.reads(), 1U);
  // Beyond the end of what the source has nothing is asked for.
  ASSERT_TRUE(write(id, 12, "end").ok());
  EXPECT_EQ(*read(id, 10, 100), std::string("\0\0end", 5));
  EXPECT_EQ(syncer.reads(), 1U);
}

TEST_F(TreeChangeTest, AReadThatFetchesAroundAChangeFailsAndIsInterrupted) {
  const NodeId id = list(kRootNode, {file("file", 10)}).at("file");
  ASSERT_TRUE(write(id, 3, "XY").ok());
  std::promise<Result<ReadBytes>> answer;
  const RequestId request =
      tree->read(id, 0, 10, [&](Result<ReadBytes> bytes) { answer.set_value(std::move(bytes)); });
  ASSERT_TRUE(syncer.wait_for_waiting(1, seconds(10)));
  tree->cancel(request);
  auto future = answer.get_future();
  ASSERT_EQ(future.wait_for(seconds(10)), std::future_status::ready);
  EXPECT_EQ(future.get().error().code(), Errc::kCanceled);
  std::promise<Result<ReadBytes>> second;
  tree->read(id, 0, 10, [&](Result<ReadBytes> bytes) { second.set_value(std::move(bytes)); });
  ASSERT_TRUE(syncer.wait_for_waiting(1, seconds(10)));
  syncer.fail_all(Errc::kTimedOut);
  EXPECT_EQ(second.get_future().get().error().code(), Errc::kTimedOut);
  // Told again at once, without another wait.
  EXPECT_EQ(read(id, 0, 10).error().code(), Errc::kTimedOut);
  EXPECT_EQ(*read(id, 3, 2), "XY");
}

TEST_F(TreeChangeTest, AnAppendGoesToTheEndThatIs) {
  const NodeId id = new_file("file");
  RecordingCaches caches;
  restart({});
  notifier.attach(caches, *tree);
  know(kRootNode, "file");
  ASSERT_TRUE(write(id, 0, "0123456789").ok());
  ASSERT_TRUE(write(id, 10, "ab", true).ok());
  ASSERT_TRUE(notifier.wait_idle(seconds(10)));
  EXPECT_TRUE(caches.calls().empty());
  // The kernel thinks that the file is shorter: what it holds is wrong then.
  ASSERT_TRUE(write(id, 4, "cd", true).ok());
  EXPECT_EQ(*read(id, 0, 100), "0123456789abcd");
  ASSERT_TRUE(notifier.wait_idle(seconds(10)));
  EXPECT_THAT(caches.calls(), ElementsAre("all " + std::to_string(id)));
  notifier.detach();
}

TEST_F(TreeChangeTest, CopiesAreMadeOfWhatIsHere) {
  const auto nodes = list(kRootNode, {file("away", 10), file("here", 5)});
  fill(nodes.at("here"), "hello");
  const NodeId to = new_file("to");
  EXPECT_EQ(*copy(nodes.at("here"), 1, to, 2, 100), 4U);
  EXPECT_EQ(*read(to, 0, 100), std::string("\0\0ello", 6));
  EXPECT_EQ(*copy(nodes.at("here"), 5, to, 0, 100), 0U);
  EXPECT_EQ(*copy(to, 2, to, 10, 2), 2U);
  EXPECT_EQ(*read(to, 10, 100), "el");
  EXPECT_EQ(copy(nodes.at("away"), 0, to, 0, 10).error().code(), Errc::kUnsupported);
}

TEST_F(TreeChangeTest, DataAndHolesOfAChangedFile) {
  const NodeId id = new_file("file");
  ASSERT_TRUE(write(id, 1'000'000, std::string(4096, 'x')).ok());
  const auto seek = [&](uint64_t offset, SeekKind kind) {
    return wait_for<uint64_t>([&](auto done) { tree->seek(id, offset, kind, std::move(done)); });
  };
  EXPECT_EQ(*seek(0, SeekKind::kHole), 0U);
  EXPECT_GT(*seek(0, SeekKind::kData), 900'000U);
  EXPECT_EQ(*seek(1'000'000, SeekKind::kHole), 1'004'096U);
  EXPECT_EQ(errno_number(seek(1'004'096, SeekKind::kData).error()), ENXIO);
  EXPECT_LT(getattr(id)->st_blocks, 32);
}

TEST_F(TreeChangeTest, SyncIsOfTheStoreOrOfTheSource) {
  const NodeId id = new_file("file");
  ASSERT_TRUE(write(id, 0, "x").ok());
  EXPECT_TRUE(sync(id).ok());
  EXPECT_TRUE(sync(kRootNode).ok());
  EXPECT_EQ(syncer.waiting(), 0U);
  restart({.fsync_remote = true});
  std::promise<Result<void>> answer;
  tree->sync(id, [&](Result<void> done) { answer.set_value(std::move(done)); });
  ASSERT_TRUE(syncer.wait_for_waiting(1, seconds(10)));
  syncer.fail_all(Errc::kUnreachable);
  EXPECT_EQ(answer.get_future().get().error().code(), Errc::kUnreachable);
}

TEST_F(TreeChangeTest, StateTellsWhatIsNotPushed) {
  const auto nodes = list(kRootNode, {directory("d"), file("file", 5)});
  const auto state = [&](NodeId id) { return *getxattr(id, "user.rsyncfs.state"); };
  fill(nodes.at("file"), "hello");
  EXPECT_EQ(state(nodes.at("file")), "cached");
  ASSERT_TRUE(write(nodes.at("file"), 0, "j").ok());
  EXPECT_EQ(state(nodes.at("file")), "dirty");
  EXPECT_EQ(state(new_file("new")), "dirty");
  // Only its name is another one.
  EXPECT_NE(state(nodes.at("d")), "dirty");
  ASSERT_TRUE(rename(kRootNode, "d", kRootNode, "e").ok());
  EXPECT_EQ(state(nodes.at("d")), "dirty");
  ASSERT_TRUE(replica->pending().record_conflict({0, 1, "new", "new.conflict", "both"}).ok());
  EXPECT_EQ(state(lookup(kRootNode, "new")->node), "conflict");
}

}  // namespace
}  // namespace rsyncfs::testing
