// SPDX-License-Identifier: GPL-3.0-or-later
// What users do to names and attributes, and what of it differs from the source then.
#include <cerrno>
#include <string>
#include <vector>

#include "tests/replica/local_rig.h"

namespace rsyncfs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class LocalNames : public LocalRig {};

TEST_F(LocalNames, ANewFileIsThereAndAbsentAtTheSource) {
  const Node before = state(kRootNode);
  const Node made = must(local().create(kRootNode, "f", new_file(0640)));
  EXPECT_EQ(made.ino, made.id);
  EXPECT_EQ(made.attr.mode, S_IFREG | 0640U);
  EXPECT_EQ(made.attr.uid, 1000U);
  EXPECT_EQ(made.attr.gid, 100U);
  EXPECT_EQ(made.attr.nlink, 1U);
  EXPECT_NE(made.attr.mtime_s, 0);
  EXPECT_EQ(made.ctime, (FileTime{made.attr.mtime_s, made.attr.mtime_ns}));
  EXPECT_EQ(made.differences, uint32_t{kAbsentAtSource});
  reopen();
  const Node again = at("f");
  EXPECT_EQ(again.id, made.id);
  EXPECT_EQ(again.ino, made.ino);
  EXPECT_EQ(again.attr, made.attr);
  EXPECT_EQ(again.ctime, made.ctime);
  EXPECT_EQ(again.atime, made.atime);
  const Node root = state(kRootNode);
  EXPECT_EQ(root.attr.mtime_s, made.attr.mtime_s);
  EXPECT_EQ(root.ctime, made.ctime);
  EXPECT_EQ(root.attr.nlink, before.attr.nlink);
  EXPECT_EQ(root.differences, 0U) << "a directory's time follows its names by itself";
  EXPECT_THAT(differing_names(), ElementsAre(leads("f", 0, made.id)));
  EXPECT_THAT(differing_nodes(), testing::SizeIs(1));
}

TEST_F(LocalNames, DirectoriesCountTheirSubdirectories) {
  source_has(kRootNode, {"d/"});
  const NodeId d = at("d").id;
  EXPECT_EQ(state(d).attr.nlink, 1U);
  const Node e = must(local().create(kRootNode, "e", new_directory()));
  EXPECT_EQ(e.attr.nlink, 2U);
  EXPECT_NE(e.listed_at_s, 0) << "there is nothing to be listed in it";
  EXPECT_EQ(state(kRootNode).attr.nlink, 4U);
  // Never listed: not counted.
  must(local().create(d, "x", new_directory()));
  EXPECT_EQ(state(d).attr.nlink, 1U);
  must(local().rename(kRootNode, "d", e.id, "d", RenameMode::kReplace));
  EXPECT_EQ(state(kRootNode).attr.nlink, 3U);
  EXPECT_EQ(state(e.id).attr.nlink, 3U);
  must(local().remove_directory(d, "x"));
  must(local().remove_directory(e.id, "d"));
  EXPECT_EQ(state(e.id).attr.nlink, 2U);
}

TEST_F(LocalNames, WhatWasMadeAndRemovedLeavesNothing) {
  const Node f = must(local().create(kRootNode, "f", new_file()));
  const Node d = must(local().create(kRootNode, "d", new_directory()));
  must(local().change_attributes(f.id, {.permissions = 0600}));
  must(local().rename(kRootNode, "f", d.id, "g", RenameMode::kReplace));
  must(local().link(f.id, kRootNode, "h"));
  must(local().unlink(d.id, "g"));
  const NameEffect gone = must(local().unlink(kRootNode, "h"));
  EXPECT_TRUE(gone.node.orphan);
  EXPECT_EQ(gone.node.attr.nlink, 0U);
  must(local().remove_directory(kRootNode, "d"));
  EXPECT_TRUE(nothing_pending());
  EXPECT_EQ(pending().summary().oldest_ms, 0);
  EXPECT_THAT(differing_names(), IsEmpty());
  EXPECT_THAT(differing_nodes(), IsEmpty());
  // It works like any file while it is open.
  must(local().change_attributes(f.id, {.permissions = 0644, .uid = 7}));
  EXPECT_EQ(state(f.id).attr.uid, 7U);
  EXPECT_TRUE(nothing_pending());
  must(store_->check());
  must(store_->forget_orphans({f.id, d.id}));
  EXPECT_EQ(store_->node(f.id).error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->node(d.id).error().code(), Errc::kNotFound);
}

TEST_F(LocalNames, ARemovedFileOfTheSourceStaysUntilTheSourceHasRemovedIt) {
  const auto nodes = source_has(kRootNode, {"a", "d/"});
  const auto inner = source_has(nodes[1], {"x"});
  must(local().unlink(nodes[1], "x"));
  must(local().remove_directory(kRootNode, "d"));
  must(local().unlink(kRootNode, "a"));
  EXPECT_THAT(list(), IsEmpty());
  EXPECT_THAT(differing_names(),
              ElementsAre(leads("a", nodes[0], 0), leads("d", nodes[1], 0), leads("x", inner[0], 0)));
  must(store_->forget_orphans({nodes[0], nodes[1], inner[0]}));
  must(store_->check());
  EXPECT_EQ(must(pending().remote_place(inner[0])).path, "d/x");
  EXPECT_EQ(must(pending().base_of(nodes[0])).attr.size, 1U);
  EXPECT_EQ(must(store_->purge_orphans(100)), 0U);
  must(pending().acknowledge({.names = {{nodes[1], "x", 0}}, .nodes = {}}));
  EXPECT_FALSE(store_->node(inner[0]).ok()) << "forgotten, and gone from the source";
  EXPECT_TRUE(store_->node(nodes[1]).ok());
  must(pending().acknowledge({.names = {{kRootNode, "a", 0}, {kRootNode, "d", 0}}, .nodes = {}}));
  EXPECT_FALSE(store_->node(nodes[0]).ok());
  EXPECT_FALSE(store_->node(nodes[1]).ok());
  EXPECT_TRUE(nothing_pending());
}

TEST_F(LocalNames, AnOpenFileOutlivesItsRemovalAtTheSource) {
  const auto nodes = source_has(kRootNode, {"a"});
  must(local().unlink(kRootNode, "a"));
  must(pending().acknowledge({.names = {{kRootNode, "a", 0}}, .nodes = {}}));
  EXPECT_TRUE(state(nodes[0]).orphan);
  must(local().change_attributes(nodes[0], {.permissions = 0600}));
  EXPECT_TRUE(nothing_pending());
  must(store_->forget_orphans({nodes[0]}));
  EXPECT_FALSE(store_->node(nodes[0]).ok());
}

TEST_F(LocalNames, RenamingBackIsNoDifference) {
  const auto nodes = source_has(kRootNode, {"a", "d/"});
  const NameEffect effect = must(local().rename(kRootNode, "a", nodes[1], "b", RenameMode::kReplace));
  EXPECT_EQ(effect.node.id, nodes[0]);
  EXPECT_FALSE(effect.other.has_value());
  EXPECT_THAT(differing_names(), ElementsAre(leads("a", nodes[0], 0), leads("b", 0, nodes[0])));
  EXPECT_EQ(state(nodes[0]).differences, 0U);
  EXPECT_EQ(must(pending().remote_place(nodes[0])).path, "a");
  EXPECT_EQ(must(store_->path_of(nodes[0])), "d/b");
  must(local().rename(nodes[1], "b", kRootNode, "a", RenameMode::kNoReplace));
  EXPECT_TRUE(nothing_pending());
}

TEST_F(LocalNames, WhatIsBelowARenamedDirectoryStaysAsItIs) {
  const auto nodes = source_has(kRootNode, {"d/", "e/"});
  const auto inner = source_has(nodes[0], {"x", "y/"});
  const auto deep = source_has(inner[1], {"z"});
  must(local().rename(kRootNode, "d", nodes[1], "q", RenameMode::kReplace));
  EXPECT_THAT(differing_names(), ElementsAre(leads("d", nodes[0], 0), leads("q", 0, nodes[0])));
  EXPECT_THAT(differing_nodes(), IsEmpty());
  EXPECT_EQ(must(store_->path_of(deep[0])), "e/q/y/z");
  const RemotePlace place = must(pending().remote_place(deep[0]));
  EXPECT_EQ(place.path, "d/y/z");
  EXPECT_EQ(place.parent, inner[1]);
  EXPECT_EQ(place.name, "z");
  EXPECT_TRUE(place.base.present);
  EXPECT_EQ(must(pending().remote_path(inner[1], "new")), "d/y/new");
  EXPECT_EQ(pending().remote_place(must(local().create(inner[1], "n", new_file())).id).error().code(),
            Errc::kNotFound);
  must(pending().acknowledge({.names = {{kRootNode, "d", 0}, {nodes[1], "q", nodes[0]}}, .nodes = {}}));
  EXPECT_EQ(must(pending().remote_place(deep[0])).path, "e/q/y/z");
}

// The source may have moved it itself between the plan and what came of it.
TEST_F(LocalNames, ADirectoryThatArrivedIsNowhereElse) {
  const auto nodes = source_has(kRootNode, {"d/", "e/"});
  must(local().rename(kRootNode, "d", nodes[1], "q", RenameMode::kReplace));
  must(pending().acknowledge({.names = {{nodes[1], "q", nodes[0]}}, .nodes = {}}));
  must(store_->check());
  EXPECT_TRUE(nothing_pending());
  EXPECT_EQ(must(pending().remote_place(nodes[0])).path, "e/q");
}

// A directory is removed, and another one that is on its way to the source takes its name before it arrives.
TEST_F(LocalNames, WhatWasMadeOfADirectoryThatMovedOnIsNotTheOneThatAListShows) {
  const auto nodes = source_has(kRootNode, {"d/", "e/"});
  const auto inner = source_has(nodes[0], {"x"});
  must(local().unlink(nodes[0], "x"));
  must(local().remove_directory(kRootNode, "d"));
  const Node made = must(local().create(nodes[1], "q", new_directory()));
  must(local().rename(nodes[1], "q", kRootNode, "d", RenameMode::kReplace));
  source_has(kRootNode, {"d/", "e/"});
  EXPECT_EQ(must(pending().remote_place(made.id)).path, "d") << "what is there, without what was in it";
  must(pending().acknowledge({.names = {{nodes[1], "q", made.id}}, .nodes = {as_it_is(made.id)}}));
  must(store_->check());
  EXPECT_EQ(must(pending().remote_place(made.id)).path, "d");
  EXPECT_EQ(must(pending().remote_place(inner[0])).path, "d/x");
  const NodeId relic = must(pending().base_binding(nodes[1], "q"));
  EXPECT_NE(relic, 0U);
  EXPECT_NE(relic, made.id);
  must(pending().acknowledge({.names = {{nodes[1], "q", 0}, {made.id, "x", 0}}, .nodes = {}}));
  EXPECT_FALSE(store_->node(relic).ok());
  EXPECT_THAT(differing_names(), IsEmpty());
}

TEST_F(LocalNames, AReplacedFileIsStillWhatTheSourceHas) {
  const auto nodes = source_has(kRootNode, {"a"});
  const Node fresh = must(local().create(kRootNode, "a.tmp", new_file()));
  const NameEffect effect = must(local().rename(kRootNode, "a.tmp", kRootNode, "a", RenameMode::kReplace));
  EXPECT_EQ(effect.node.id, fresh.id);
  ASSERT_TRUE(effect.other.has_value());
  EXPECT_EQ(effect.other->id, nodes[0]);
  EXPECT_TRUE(effect.other->orphan);
  EXPECT_THAT(differing_names(), ElementsAre(leads("a", nodes[0], fresh.id)));
  EXPECT_EQ(must(pending().base_binding(kRootNode, "a")), nodes[0]);
  EXPECT_EQ(must(pending().local_binding(kRootNode, "a")), fresh.id);
  EXPECT_EQ(must(pending().remote_place(nodes[0])).path, "a");
  must(pending().acknowledge({.names = {{kRootNode, "a", fresh.id}}, .nodes = {as_it_is(fresh.id)}}));
  EXPECT_TRUE(nothing_pending());
}

TEST_F(LocalNames, ExchangeBothWays) {
  const auto nodes = source_has(kRootNode, {"a", "d/", "e/"});
  const NameEffect effect = must(local().rename(kRootNode, "a", nodes[2], "x", RenameMode::kReplace));
  EXPECT_EQ(effect.node.id, nodes[0]);
  EXPECT_EQ(errno_of(local().rename(kRootNode, "d", nodes[2], "y", RenameMode::kExchange)), ENOENT);
  const NameEffect swapped = must(local().rename(kRootNode, "d", nodes[2], "x", RenameMode::kExchange));
  EXPECT_EQ(swapped.node.id, nodes[1]);
  EXPECT_EQ(swapped.other->id, nodes[0]);
  EXPECT_EQ(at("d").id, nodes[0]);
  EXPECT_EQ(at(nodes[2], "x").id, nodes[1]);
  EXPECT_EQ(state(kRootNode).attr.nlink, 3U);
  // Into its own subtree, from either side.
  EXPECT_EQ(errno_of(local().rename(nodes[2], "x", kRootNode, "e", RenameMode::kExchange)), EINVAL);
  EXPECT_EQ(errno_of(local().rename(kRootNode, "e", nodes[2], "x", RenameMode::kExchange)), EINVAL);
  must(local().rename(nodes[2], "x", kRootNode, "d", RenameMode::kExchange));
  must(local().rename(nodes[2], "x", kRootNode, "a", RenameMode::kReplace));
  EXPECT_TRUE(nothing_pending());
}

TEST_F(LocalNames, RenamesThatMayNotBe) {
  const auto nodes = source_has(kRootNode, {"a", "b", "d/", "e/"});
  const auto inner = source_has(nodes[2], {"sub/"});
  must(local().create(nodes[3], "x", new_file()));
  const auto tried = [&](NodeId parent, std::string_view name, NodeId to, std::string_view new_name,
                         RenameMode mode = RenameMode::kReplace) {
    return errno_of(local().rename(parent, name, to, new_name, mode));
  };
  EXPECT_EQ(tried(kRootNode, "none", kRootNode, "b"), ENOENT);
  EXPECT_EQ(tried(kRootNode, "a", kRootNode, "b", RenameMode::kNoReplace), EEXIST);
  EXPECT_EQ(tried(kRootNode, "a", kRootNode, "a", RenameMode::kNoReplace), EEXIST);
  EXPECT_EQ(tried(kRootNode, "a", kRootNode, "d"), EISDIR);
  EXPECT_EQ(tried(kRootNode, "d", kRootNode, "a"), ENOTDIR);
  EXPECT_EQ(tried(kRootNode, "d", kRootNode, "e"), ENOTEMPTY);
  EXPECT_EQ(tried(kRootNode, "d", nodes[2], "x"), EINVAL);
  EXPECT_EQ(tried(kRootNode, "d", inner[0], "x"), EINVAL);
  EXPECT_EQ(tried(nodes[2], "sub", kRootNode, "d"), ENOTEMPTY);
  EXPECT_EQ(tried(kRootNode, "a", nodes[1], "x"), ENOTDIR);
  EXPECT_EQ(tried(kRootNode, "a", 4711, "x"), ESTALE);
  EXPECT_EQ(tried(kRootNode, "a", kRootNode, std::string(256, 'n')), ENAMETOOLONG);
  EXPECT_EQ(tried(kRootNode, "a", kRootNode, "x/y"), EINVAL);
  EXPECT_EQ(tried(kRootNode, "a", kRootNode, "a"), 0);
  EXPECT_THAT(list(), ElementsAre("a", "b", "d", "e"));
  EXPECT_THAT(differing_names(), testing::SizeIs(1));
  // A directory over an empty one.
  must(local().unlink(nodes[3], "x"));
  EXPECT_EQ(tried(kRootNode, "d", kRootNode, "e"), 0);
  EXPECT_TRUE(state(nodes[3]).orphan);
  EXPECT_EQ(at("e").id, nodes[2]);
}

TEST_F(LocalNames, NamesThatMayNotBeMadeOrRemoved) {
  const auto nodes = source_has(kRootNode, {"a", "d/"});
  source_has(nodes[1], {"x"});
  EXPECT_EQ(errno_of(local().create(kRootNode, "a", new_file())), EEXIST);
  EXPECT_EQ(errno_of(local().create(nodes[0], "x", new_file())), ENOTDIR);
  EXPECT_EQ(errno_of(local().create(4711, "x", new_file())), ESTALE);
  EXPECT_EQ(errno_of(local().create(kRootNode, "", new_file())), EINVAL);
  EXPECT_EQ(errno_of(local().create(kRootNode, "..", new_file())), EINVAL);
  EXPECT_EQ(errno_of(local().create(kRootNode, std::string(256, 'x'), new_file())), ENAMETOOLONG);
  must(local().create(kRootNode, std::string(255, 'x'), new_file()));
  EXPECT_EQ(errno_of(local().unlink(kRootNode, "d")), EISDIR);
  EXPECT_EQ(errno_of(local().remove_directory(kRootNode, "a")), ENOTDIR);
  EXPECT_EQ(errno_of(local().remove_directory(kRootNode, "d")), ENOTEMPTY);
  EXPECT_EQ(errno_of(local().unlink(kRootNode, "none")), ENOENT);
  EXPECT_EQ(errno_of(local().link(nodes[1], kRootNode, "l")), EPERM);
  EXPECT_EQ(errno_of(local().link(nodes[0], kRootNode, "d")), EEXIST);
  must(local().unlink(nodes[1], "x"));
  must(local().remove_directory(kRootNode, "d"));
  EXPECT_EQ(errno_of(local().create(nodes[1], "x", new_file())), ENOENT);
}

TEST_F(LocalNames, HardLinksCount) {
  const auto nodes = source_has(kRootNode, {"a"});
  const Node linked = must(local().link(nodes[0], kRootNode, "b"));
  EXPECT_EQ(linked.attr.nlink, 2U);
  EXPECT_EQ(linked.differences, 0U);
  ASSERT_TRUE(linked.ctime.has_value());
  EXPECT_THAT(differing_names(), ElementsAre(leads("b", 0, nodes[0])));
  // Two names of one file: nothing happens.
  must(local().rename(kRootNode, "a", kRootNode, "b", RenameMode::kReplace));
  EXPECT_THAT(list(), ElementsAre("a", "b"));
  EXPECT_THAT(must(pending().local_names_of(nodes[0], 10)), testing::SizeIs(2));
  EXPECT_THAT(must(pending().base_names_of(nodes[0], 10)), ElementsAre(Binding{kRootNode, "a", nodes[0]}));
  const NameEffect gone = must(local().unlink(kRootNode, "a"));
  EXPECT_EQ(gone.node.attr.nlink, 1U);
  EXPECT_FALSE(gone.node.orphan);
  EXPECT_THAT(must(pending().base_names_of(nodes[0], 10)), ElementsAre(Binding{kRootNode, "a", nodes[0]}));
  EXPECT_EQ(must(pending().remote_place(nodes[0])).path, "a");
}

TEST_F(LocalNames, AnUnnamedFileGetsItsFirstName) {
  const Node made = must(local().create_unnamed(new_file()));
  EXPECT_TRUE(made.orphan);
  EXPECT_TRUE(nothing_pending());
  must(local().change_attributes(made.id, {.permissions = 0600}));
  EXPECT_TRUE(nothing_pending());
  const Node named = must(local().link(made.id, kRootNode, "f"));
  EXPECT_FALSE(named.orphan);
  EXPECT_EQ(named.attr.nlink, 1U);
  EXPECT_EQ(named.attr.mode, S_IFREG | 0600U);
  EXPECT_EQ(named.ino, made.ino);
  EXPECT_THAT(differing_names(), ElementsAre(leads("f", 0, made.id)));
  const Node never = must(local().create_unnamed(new_file()));
  reopen();
  EXPECT_EQ(must(store_->purge_orphans(10)), 1U);
  EXPECT_FALSE(store_->node(never.id).ok());
}

TEST_F(LocalNames, ARemovedFileThatGetsItsNameBackIsNoDifference) {
  const auto nodes = source_has(kRootNode, {"a"});
  must(local().unlink(kRootNode, "a"));
  must(store_->check());
  must(local().link(nodes[0], kRootNode, "a"));
  EXPECT_FALSE(state(nodes[0]).orphan);
  EXPECT_TRUE(nothing_pending());
}

TEST_F(LocalNames, AttributesDifferUntilTheyAreAsBefore) {
  const auto nodes = source_has(kRootNode, {"a", "d/"});
  const Node before = state(nodes[0]);
  must(local().change_attributes(nodes[0], {}));
  EXPECT_TRUE(nothing_pending());
  Node after = must(local().change_attributes(nodes[0], {.permissions = 04755}));
  EXPECT_EQ(after.attr.mode, S_IFREG | 04755U);
  EXPECT_EQ(after.differences, uint32_t{kModeDiffers});
  after = must(local().change_attributes(nodes[0], {.uid = 5, .gid = 6, .mtime = FileTime{77, 8}}));
  EXPECT_EQ(after.differences, uint32_t{kModeDiffers | kOwnerDiffers | kMtimeDiffers});
  EXPECT_EQ(after.version(), (FileVersion{1, 77, 8}));
  const PendingNode pending_node = *must(pending().node(nodes[0]));
  EXPECT_EQ(pending_node.base.attr.mode, before.attr.mode);
  EXPECT_EQ(pending_node.base.attr.mtime_s, before.attr.mtime_s);
  EXPECT_EQ(pending_node.local.attr, after.attr);
  must(local().change_attributes(nodes[0], {.permissions = before.attr.mode & 07777}));
  EXPECT_EQ(state(nodes[0]).differences, uint32_t{kOwnerDiffers | kMtimeDiffers});
  must(local().change_attributes(nodes[0], {.uid = before.attr.uid, .gid = before.attr.gid}));
  must(local().change_attributes(nodes[0], {.mtime = FileTime{before.attr.mtime_s, before.attr.mtime_ns}}));
  EXPECT_TRUE(nothing_pending());
  // The access time is nobody else's business.
  after = must(local().change_attributes(nodes[0], {.atime = FileTime{5, 6}}));
  EXPECT_EQ(after.atime, (FileTime{5, 6}));
  EXPECT_TRUE(nothing_pending());
  EXPECT_EQ(errno_of(local().change_attributes(4711, {})), ESTALE);
  // A directory's time counts when a user set it.
  must(local().create(nodes[1], "x", new_file()));
  must(local().change_attributes(nodes[1], {.permissions = 0700}));
  EXPECT_EQ(state(nodes[1]).differences, uint32_t{kModeDiffers});
  must(local().change_attributes(nodes[1], {.mtime = FileTime{9, 9}}));
  EXPECT_EQ(state(nodes[1]).differences, uint32_t{kModeDiffers | kMtimeDiffers});
}

TEST_F(LocalNames, ExtendedAttributesAreReplacedAsAWhole) {
  const auto nodes = source_has(kRootNode, {"a", "b"});
  const StoredXattrs some = {{"user.x", "value", 5, false}, {"user.y", std::string(16, 'd'), 100, true}};
  Node after =
      must(local().replace_xattrs(nodes[0], some, {{std::string(16, 'd'), std::string(100, 'v')}}, 0640));
  EXPECT_EQ(after.attr.mode, S_IFREG | 0640U);
  EXPECT_EQ(after.differences, uint32_t{kModeDiffers | kXattrsDiffer});
  EXPECT_EQ(must(store_->xattrs(nodes[0])), some);
  EXPECT_EQ(must(store_->xattr_value(std::string(16, 'd'), 100)), std::string(100, 'v'));
  must(store_->check());
  NewNode inherits = new_file();
  inherits.xattrs = some;
  const Node made = must(local().create(kRootNode, "c", inherits));
  EXPECT_EQ(must(store_->xattrs(made.id)), some);
  must(local().unlink(kRootNode, "c"));
  must(store_->forget_orphans({made.id}));
  after = must(local().replace_xattrs(nodes[0], {}, {}, 0644));
  EXPECT_TRUE(nothing_pending());
  EXPECT_EQ(must(store_->xattrs(nodes[0])), StoredXattrs());
}

TEST_F(LocalNames, WhatArrivedInADirectoryThatIsGoneIsForTheNextListToTell) {
  const NodeId removed = source_has(kRootNode, {"d/"})[0];
  source_has(removed, {});
  const Node link = must(local().create(removed, "l", new_symlink("to")));
  const BaseNode arrived = as_it_is(link.id);
  // While it is on its way.
  must(local().unlink(removed, "l"));
  must(local().remove_directory(kRootNode, "d"));
  const Node anew = must(local().create(kRootNode, "d", new_directory()));
  must(store_->forget_orphans({link.id, removed}));
  source_has(kRootNode, {"d/"});
  EXPECT_FALSE(store_->node(removed).ok()) << "the new one is the source's";
  must(pending().acknowledge({.names = {{removed, "l", link.id}}, .nodes = {arrived}}));
  must(store_->check());
  EXPECT_EQ(pending().summary().names, 0U);
  EXPECT_FALSE(store_->node(link.id).ok());
  EXPECT_EQ(at("d").id, anew.id);
  source_has(anew.id, {"l@"});
  EXPECT_TRUE(exists(anew.id, "l"));
}

TEST_F(LocalNames, OtherKinds) {
  const Node link = must(local().create(kRootNode, "l", new_symlink("to/there")));
  EXPECT_EQ(link.attr.size, 8U);
  EXPECT_EQ(must(store_->link_target(link.id)), "to/there");
  NewNode device;
  device.mode = S_IFCHR | 0600;
  device.rdev_major = 5;
  device.rdev_minor = 0x12345;
  EXPECT_EQ(must(local().create(kRootNode, "dev", device)).attr.rdev_minor, 0x12345U);
  reopen();
  EXPECT_EQ(at("dev").attr.rdev_major, 5U);
  EXPECT_EQ(at("dev").attr.rdev_minor, 0x12345U);
  device.mode = S_IFIFO | 0600;
  must(local().create(kRootNode, "fifo", device));
  device.mode = 0600;
  EXPECT_EQ(errno_of(local().create(kRootNode, "odd", device)), EINVAL);
  EXPECT_EQ(errno_of(local().create(kRootNode, "odd", new_symlink(""))), ENOENT);
  EXPECT_EQ(errno_of(local().create_unnamed(new_directory())), EINVAL);
}

}  // namespace
}  // namespace rsyncfs
