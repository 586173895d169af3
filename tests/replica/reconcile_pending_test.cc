// SPDX-License-Identifier: GPL-3.0-or-later
// What a listing makes of names and nodes that users changed.
#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "tests/replica/local_rig.h"

namespace rsyncfs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

class ReconcilePending : public LocalRig {
 protected:
  static ListedName& with(ListedName& listed, uint32_t permissions, uint32_t uid = 0) {
    listed.attr.mode = (listed.attr.mode & S_IFMT) | permissions;
    listed.attr.uid = uid;
    return listed;
  }
  Applied list_of(Listing& listing, NodeId directory = kRootNode) {
    Applied applied = apply(*store_, directory, listing);
    must(store_->check());
    return applied;
  }
  // The same twice is no news.
  void expect_settled(Listing& listing, NodeId directory = kRootNode) {
    const Applied again = list_of(listing, directory);
    EXPECT_THAT(again.changes, IsEmpty());
  }
  // A file of the source whose bytes are here.
  NodeId source_file(const std::string& name, uint64_t size = 10, int64_t mtime_s = 1) {
    Listing listing;
    listing.file(name, size, mtime_s);
    const NodeId node = only_node(apply(*store_, kRootNode, listing));
    store_content(*store_, node, known_bytes(node, size));
    return node;
  }
};

TEST_F(ReconcilePending, WhatTheSourceDoesNotHaveStays) {
  source_file("a");
  const Node made = must(local().create(kRootNode, "new", new_file()));
  const Node below = must(local().create(kRootNode, "d", new_directory()));
  Listing same;
  same.file("a", 10);
  expect_settled(same);
  EXPECT_THAT(list(), ElementsAre("a", "d", "new"));
  EXPECT_EQ(state(kRootNode).attr.nlink, 3U);
  EXPECT_THAT(differing_names(), ElementsAre(leads("d", 0, below.id), leads("new", 0, made.id)));
}

TEST_F(ReconcilePending, WhatWasRemovedStaysRemovedUnlessItChangedThere) {
  const NodeId a = source_file("a");
  must(local().unlink(kRootNode, "a"));
  Listing same;
  same.file("a", 10);
  expect_settled(same);
  EXPECT_FALSE(exists("a"));
  // Another mode is no reason to bring it back.
  Listing mode;
  with(mode.file("a", 10), 0600);
  list_of(mode);
  EXPECT_FALSE(exists("a"));
  EXPECT_EQ(must(pending().base_of(a)).attr.mode, S_IFREG | 0600U);
  Listing other;
  other.file("a", 11, 2);
  const Applied applied = list_of(other);
  EXPECT_EQ(at("a").attr.size, 11U);
  EXPECT_NE(at("a").id, a);
  EXPECT_TRUE(nothing_pending());
  EXPECT_EQ(applied.changes.at(0).kind, NameChange::Kind::kCreated);
}

TEST_F(ReconcilePending, WhatBothRemovedIsGone) {
  const NodeId a = source_file("a");
  must(local().unlink(kRootNode, "a"));
  must(store_->forget_orphans({a}));
  EXPECT_TRUE(store_->node(a).ok());
  Listing nothing;
  expect_settled(nothing);
  EXPECT_TRUE(nothing_pending());
  EXPECT_FALSE(store_->node(a).ok());
}

TEST_F(ReconcilePending, AttributesAreMerged) {
  const NodeId a = source_file("a");
  must(local().change_attributes(a, {.permissions = 0600}));
  Listing owner;
  with(owner.file("a", 10), 0644, 7);
  EXPECT_THAT(list_of(owner).changes, SizeIs(1));
  EXPECT_EQ(at("a").attr.mode, S_IFREG | 0600U);
  EXPECT_EQ(at("a").attr.uid, 7U);
  EXPECT_EQ(at("a").differences, uint32_t{kModeDiffers});
  EXPECT_THAT(must(pending().conflicts(10)), IsEmpty());
  // Both changed the mode: ours stays, and it is told.
  Listing mode;
  with(mode.file("a", 10), 0640, 7);
  list_of(mode);
  EXPECT_EQ(at("a").attr.mode, S_IFREG | 0600U);
  EXPECT_EQ(must(pending().base_of(a)).attr.mode, S_IFREG | 0640U);
  ASSERT_THAT(must(pending().conflicts(10)), SizeIs(1));
  EXPECT_EQ(must(pending().conflicts(10))[0].path, "a");
  expect_settled(mode);
  EXPECT_THAT(must(pending().conflicts(10)), SizeIs(1));
  // They came to ours.
  Listing ours;
  with(ours.file("a", 10), 0600, 7);
  list_of(ours);
  EXPECT_TRUE(nothing_pending());
}

TEST_F(ReconcilePending, AttributesOfOursAndBytesOfTheirs) {
  const NodeId a = source_file("a");
  const uint64_t ino = at("a").ino;
  must(local().change_attributes(a, {.permissions = 0600}));
  Listing other;
  other.file("a", 20, 5);
  const Applied applied = list_of(other);
  const Node now = at("a");
  EXPECT_NE(now.id, a);
  EXPECT_EQ(now.ino, ino);
  EXPECT_EQ(now.attr.size, 20U);
  EXPECT_EQ(now.attr.mode, S_IFREG | 0600U);
  EXPECT_EQ(now.differences, uint32_t{kModeDiffers});
  EXPECT_THAT(applied.collisions, IsEmpty());
  EXPECT_TRUE(state(a).orphan);
  EXPECT_EQ(state(a).differences & kAbsentAtSource, uint32_t{kAbsentAtSource});
  expect_settled(other);
}

TEST_F(ReconcilePending, ALostAcknowledgementIsMadeUpFor) {
  const NodeId a = source_file("a");
  must(local().change_attributes(a, {.permissions = 0600, .mtime = FileTime{77, 7}}));
  const Node link = must(local().create(kRootNode, "l", new_symlink("t")));
  const Node d = must(local().create(kRootNode, "d", new_directory()));
  Listing done;
  ListedName& file = with(done.file("a", 10, 77), 0600);
  file.attr.mtime_ns = 7;
  ListedName& symlink = done.link("l", "t");
  symlink.attr.mtime_s = link.attr.mtime_s;
  symlink.attr.mtime_ns = link.attr.mtime_ns;
  done.directory("d");
  const Applied applied = list_of(done);
  EXPECT_THAT(applied.collisions, IsEmpty());
  EXPECT_THAT(applied.nodes, ElementsAre(a, d.id, link.id));
  EXPECT_EQ(at("a").id, a);
  EXPECT_EQ(stored_content(*store_, a), known_bytes(a, 10));
  EXPECT_THAT(differing_names(), IsEmpty());
  EXPECT_EQ(differing_nodes().count(a), 0U);
  EXPECT_EQ(differing_nodes().count(link.id), 0U);
  // Its time is owed, as its children come after it.
  EXPECT_EQ(state(d.id).differences, uint32_t{kMtimeDiffers});
}

TEST_F(ReconcilePending, TwoOfOneNameCollideUnlessTheyAreDirectories) {
  const Node file = must(local().create(kRootNode, "f", new_file()));
  const Node directory = must(local().create(kRootNode, "d", new_directory()));
  const Node inner = must(local().create(directory.id, "ours", new_file()));
  Listing theirs;
  theirs.file("f", 99, 3);
  with(theirs.directory("d"), 0700);
  const Applied applied = list_of(theirs);
  ASSERT_THAT(applied.collisions, SizeIs(1));
  const Collision& collision = applied.collisions[0];
  EXPECT_EQ(collision.parent, kRootNode);
  EXPECT_EQ(collision.name, "f");
  EXPECT_EQ(collision.base, 0U);
  EXPECT_EQ(collision.local, file.id);
  EXPECT_EQ(collision.theirs.view().attr.size, 99U);
  EXPECT_THAT(applied.nodes, ElementsAre(directory.id, 0));
  EXPECT_EQ(state(directory.id).attr.mode, S_IFDIR | 0755U) << "ours is pending";
  EXPECT_NE(state(directory.id).differences & kModeDiffers, 0U);
  Listing inside;
  inside.file("theirs", 5);
  list_of(inside, directory.id);
  EXPECT_THAT(list(directory.id), ElementsAre("ours", "theirs"));
  EXPECT_EQ(must(pending().base_binding(directory.id, "ours")), 0U);
  EXPECT_EQ(at(directory.id, "ours").id, inner.id);
}

TEST_F(ReconcilePending, ARenamedFileLeadsToTheNewVersion) {
  const NodeId a = source_file("a");
  must(local().rename(kRootNode, "a", kRootNode, "b", RenameMode::kReplace));
  Listing same;
  same.file("a", 10);
  expect_settled(same);
  EXPECT_EQ(at("b").id, a);
  Listing other;
  other.file("a", 20, 2);
  list_of(other);
  EXPECT_THAT(list(), ElementsAre("b"));
  EXPECT_EQ(at("b").attr.size, 20U);
  EXPECT_EQ(must(pending().remote_place(at("b").id)).path, "a");
  EXPECT_THAT(differing_nodes(), IsEmpty());
}

TEST_F(ReconcilePending, AnExchangedFileThatChangedThere) {
  Listing two;
  two.file("a", 1);
  two.file("b", 2);
  const auto nodes = apply(*store_, kRootNode, two).nodes;
  must(local().rename(kRootNode, "a", kRootNode, "b", RenameMode::kExchange));
  Listing changed;
  changed.file("a", 11, 5);
  changed.file("b", 2);
  const Applied applied = list_of(changed);
  EXPECT_THAT(applied.collisions, IsEmpty());
  EXPECT_EQ(at("a").id, nodes[1]);
  EXPECT_EQ(at("b").attr.size, 11U);
  EXPECT_EQ(must(pending().remote_place(at("b").id)).path, "a");
}

TEST_F(ReconcilePending, ARenamedFileThatWasRemovedThereIsMadeAnewWhenItIsHere) {
  Listing two;
  two.file("here", 10);
  two.file("hollow", 10);
  const auto nodes = apply(*store_, kRootNode, two).nodes;
  store_content(*store_, nodes[0], known_bytes(1, 10));
  must(local().rename(kRootNode, "here", kRootNode, "x", RenameMode::kReplace));
  must(local().rename(kRootNode, "hollow", kRootNode, "y", RenameMode::kReplace));
  Listing nothing;
  list_of(nothing);
  EXPECT_THAT(list(), ElementsAre("x"));
  EXPECT_EQ(at("x").id, nodes[0]);
  EXPECT_EQ(at("x").differences & kAbsentAtSource, uint32_t{kAbsentAtSource});
  EXPECT_THAT(differing_names(), ElementsAre(leads("x", 0, nodes[0])));
  EXPECT_EQ(stored_content(*store_, nodes[0]), known_bytes(1, 10));
}

TEST_F(ReconcilePending, ARemovedDirectoryKeepsWhatUsersChanged) {
  const auto top = source_has(kRootNode, {"d/", "e/"});
  const auto in_d = source_has(top[0], {"clean", "deep/", "other/", "renamed"});
  const auto in_deep = source_has(in_d[1], {"x"});
  source_has(in_d[2], {"y"});
  store_content(*store_, in_d[3], known_bytes(3, 1));
  must(local().create(in_d[1], "new", new_file()));
  must(local().rename(top[0], "renamed", top[1], "moved", RenameMode::kReplace));
  Listing rest;
  rest.directory("e");
  list_of(rest);
  EXPECT_THAT(list(), ElementsAre("d", "e"));
  EXPECT_THAT(list(top[0]), ElementsAre("deep"));
  EXPECT_THAT(list(in_d[1]), ElementsAre("new"));
  EXPECT_THAT(list(top[1]), ElementsAre("moved"));
  for (const NodeId node : {top[0], in_d[1], in_d[3]}) {
    EXPECT_EQ(state(node).differences & kAbsentAtSource, uint32_t{kAbsentAtSource});
  }
  EXPECT_TRUE(state(in_d[0]).orphan);
  EXPECT_TRUE(state(in_deep[0]).orphan);
  EXPECT_TRUE(state(in_d[2]).orphan);
  EXPECT_EQ(state(top[0]).attr.nlink, 3U);
  expect_settled(rest);
}

TEST_F(ReconcilePending, ARenamedDirectoryIsListedWhereItWas) {
  const auto top = source_has(kRootNode, {"d/"});
  const auto in_d = source_has(top[0], {"x"});
  must(local().rename(kRootNode, "d", kRootNode, "r", RenameMode::kReplace));
  Listing same;
  same.directory("d");
  const Applied applied = list_of(same);
  EXPECT_THAT(applied.nodes, ElementsAre(top[0]));
  Listing inside;
  inside.file("x", 1);
  inside.file("y", 2);
  list_of(inside, top[0]);
  EXPECT_EQ(must(store_->path_of(at(top[0], "y").id)), "r/y");
  EXPECT_EQ(must(pending().remote_place(at(top[0], "y").id)).path, "d/y");
  EXPECT_EQ(at(top[0], "x").id, in_d[0]);
  // The source has moved it, too.
  Listing moved;
  moved.directory("r");
  EXPECT_THAT(list_of(moved).nodes, ElementsAre(top[0]));
  EXPECT_TRUE(nothing_pending());
  EXPECT_THAT(list(top[0]), ElementsAre("x", "y"));
}

TEST_F(ReconcilePending, AnotherKindOfThingAtTheSource) {
  const auto top = source_has(kRootNode, {"clean/", "d/", "f"});
  must(local().create(top[1], "new", new_file()));
  must(local().change_attributes(top[2], {.permissions = 0600}));
  Listing other;
  other.file("clean", 1);
  other.file("d", 1);
  other.directory("f");
  const Applied applied = list_of(other);
  ASSERT_THAT(applied.collisions, SizeIs(1));
  EXPECT_EQ(applied.collisions[0].name, "d");
  EXPECT_TRUE(S_ISREG(at("clean").attr.mode));
  EXPECT_TRUE(S_ISDIR(at("f").attr.mode));
  EXPECT_THAT(list(top[1]), ElementsAre("new"));
}

TEST_F(ReconcilePending, ADirectoryKeepsItsTimeWhileItsNamesDiffer) {
  const auto top = source_has(kRootNode, {"d/"});
  const Node made = must(local().create(top[0], "x", new_file()));
  const int64_t ours = state(top[0]).attr.mtime_s;
  Listing later;
  later.directory("d").attr.mtime_s = 12345;
  expect_settled(later);
  EXPECT_EQ(state(top[0]).attr.mtime_s, ours);
  must(pending().acknowledge({.names = {{top[0], "x", made.id}}, .nodes = {as_it_is(made.id)}}));
  list_of(later);
  EXPECT_EQ(state(top[0]).attr.mtime_s, 12345);
  EXPECT_TRUE(nothing_pending());
}

TEST_F(ReconcilePending, HardLinksOfUsersStayTogether) {
  const NodeId a = source_file("a");
  must(local().link(a, kRootNode, "b"));
  Listing same;
  same.file("a", 10).attr.nlink = 1;
  expect_settled(same);
  EXPECT_EQ(at("b").id, a);
  EXPECT_EQ(state(a).attr.nlink, 2U);
  // The source has another version: what users see by the other name stays, as theirs.
  Listing other;
  other.file("a", 20, 2).attr.nlink = 1;
  list_of(other);
  EXPECT_EQ(at("b").id, a);
  EXPECT_EQ(at("b").attr.nlink, 1U);
  EXPECT_EQ(at("a").attr.size, 20U);
  EXPECT_EQ(at("b").differences & kAbsentAtSource, uint32_t{kAbsentAtSource});
}

TEST_F(ReconcilePending, KeepBoth) {
  const Node ours = must(local().create(kRootNode, "f", new_file()));
  Listing theirs;
  theirs.file("f", 99, 3);
  const Applied applied = list_of(theirs);
  const ListedName listed = applied.collisions.at(0).theirs.view();
  EXPECT_EQ(errno_of(pending().keep_both(kRootNode, "f", &listed, "f")), EEXIST);
  const auto changes = must(pending().keep_both(kRootNode, "f", &listed, "f.ours"));
  EXPECT_THAT(changes, SizeIs(2));
  EXPECT_EQ(at("f").attr.size, 99U);
  EXPECT_EQ(at("f.ours").id, ours.id);
  EXPECT_EQ(at("f.ours").ino, ours.ino);
  EXPECT_THAT(differing_names(), ElementsAre(leads("f.ours", 0, ours.id)));
  expect_settled(theirs);
}

// Bytes are given to readers a moment before they are stored.
TEST_F(ReconcilePending, WhatWasReadAndWrittenToIsKeptThoughTheSourceHasAnotherVersion) {
  Listing before;
  before.file("f", 10, 1);
  const NodeId ours = only_node(apply(*store_, kRootNode, before));
  const FileVersion version{10, 1, 0};
  ASSERT_TRUE(must(store_->note_seen(ours, version)));
  const std::string text = "ours";
  must(local().write(ours, 10, std::as_bytes(std::span(text))));
  Listing theirs;
  theirs.file("f", 99, 3);
  const Applied applied = list_of(theirs);
  const ListedName listed = applied.collisions.at(0).theirs.view();
  must(pending().keep_both(kRootNode, "f", &listed, "f.ours"));

  const auto store = [&](bool shown) {
    std::vector<Replica::FinishedContent> list(1);
    list[0].node = ours;
    list[0].writer = must(store_->create_shown_content(ours, version, 10));
    must(list[0].writer->write(0, known_bytes(7, 10)));
    list[0].size = 10;
    list[0].version = version;
    list[0].shown = shown;
    must(store_->finish_contents(std::move(list)));
    must(store_->check());
  };
  store(false);
  EXPECT_FALSE(must(store_->content_state(ours)).complete) << "nobody saw it";
  store(true);
  const auto snapshot = must(pending().snapshot(ours));
  EXPECT_TRUE(snapshot->complete());
  std::vector<std::byte> bytes(14);
  must(snapshot->read(0, bytes));
  std::vector<std::byte> expected = known_bytes(7, 10);
  std::ranges::copy(std::as_bytes(std::span(text)), std::back_inserter(expected));
  EXPECT_EQ(bytes, expected);
  EXPECT_FALSE(store_->create_shown_content(ours, version, 10).ok()) << "it has its bytes";
}

TEST_F(ReconcilePending, KeepBothOfAnEditedFile) {
  const NodeId ours = source_has(kRootNode, {"f"}).at(0);
  must(local().resize(ours, 0));
  const std::string text = "ours";
  must(local().write(ours, 0, std::as_bytes(std::span(text))));
  Listing theirs;
  theirs.file("f", 99, 3);
  const Applied applied = list_of(theirs);
  const ListedName listed = applied.collisions.at(0).theirs.view();
  must(pending().keep_both(kRootNode, "f", &listed, "f.ours"));
  EXPECT_EQ(at("f").attr.size, 99U);
  EXPECT_EQ(at("f.ours").id, ours);
  EXPECT_EQ(at("f.ours").attr.size, text.size());
  EXPECT_THAT(differing_names(), ElementsAre(leads("f.ours", 0, ours)));
  expect_settled(theirs);
}

TEST_F(ReconcilePending, ALateWriteToAReplacedFileBecomesAConflictCopy) {
  const NodeId old = source_has(kRootNode, {"f"}).at(0);
  store_content(*store_, old, known_bytes(1, 1));
  Listing theirs;
  theirs.file("f", 99, 3);
  const Applied applied = list_of(theirs);
  EXPECT_TRUE(applied.collisions.empty());
  ASSERT_TRUE(state(old).orphan);
  std::vector<NameChange> told;
  local().watch_new_names([&](const NameChange& change) { told.push_back(change); });
  const std::string text = "late";
  must(local().write(old, 1, std::as_bytes(std::span(text))));
  must(local().write(old, 5, std::as_bytes(std::span(text))));
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].kind, NameChange::Kind::kCreated);
  EXPECT_EQ(told[0].parent, kRootNode);
  EXPECT_THAT(told[0].name, StartsWith("f.conflict-"));
  const Node copy = at(told[0].name);
  EXPECT_EQ(copy.id, old);
  EXPECT_EQ(copy.attr.size, 9U);
  EXPECT_EQ(copy.attr.nlink, 1U);
  EXPECT_NE(copy.ino, at("f").ino);
  EXPECT_EQ(at("f").attr.size, 99U);
  EXPECT_THAT(differing_names(), ElementsAre(leads(told[0].name, 0, old)));
  EXPECT_EQ(differing_nodes().at(old) & kAbsentAtSource, uint32_t{kAbsentAtSource});
  const auto conflicts = must(pending().conflicts(10));
  ASSERT_THAT(conflicts, SizeIs(1));
  EXPECT_EQ(conflicts[0].path, "f");
  EXPECT_EQ(conflicts[0].copy_path, told[0].name);
  // The kernel lets go of it: it has a name and stays, over a restart too.
  must(store_->forget_orphans({old}));
  reopen();
  EXPECT_EQ(at(told[0].name).id, old);
  std::vector<std::byte> bytes(9);
  std::vector<ExtentSet::Range> missing;
  ASSERT_EQ(must(local().dirty(old)->read(0, bytes, missing)), 9U);
  EXPECT_THAT(missing, IsEmpty());
  EXPECT_EQ(bytes[0], known_bytes(1, 1)[0]);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()) + 1, 8), "latelate");
  expect_settled(theirs);
}

TEST_F(ReconcilePending, ALateWriteToARemovedFileToo) {
  const NodeId old = source_has(kRootNode, {"f"}).at(0);
  Listing nothing;
  list_of(nothing);
  ASSERT_TRUE(state(old).orphan);
  must(local().resize(old, 0));
  const auto conflicts = must(pending().conflicts(10));
  ASSERT_THAT(conflicts, SizeIs(1));
  EXPECT_EQ(at(conflicts[0].copy_path).id, old);
}

TEST_F(ReconcilePending, ALateWriteToWhatIsNotAllHereIsRefused) {
  const NodeId old = source_has(kRootNode, {"f"}).at(0);
  Listing nothing;
  list_of(nothing);
  ASSERT_TRUE(state(old).orphan);
  const std::string text = "late";
  EXPECT_EQ(errno_of(local().write(old, 1, std::as_bytes(std::span(text)))), ESTALE);
  EXPECT_THAT(must(pending().conflicts(10)), IsEmpty());
  EXPECT_TRUE(nothing_pending());
  // What is cut to nothing needs nothing.
  must(local().resize(old, 0));
  must(local().write(old, 0, std::as_bytes(std::span(text))));
  const auto conflicts = must(pending().conflicts(10));
  ASSERT_THAT(conflicts, SizeIs(1));
  EXPECT_EQ(at(conflicts[0].copy_path).attr.size, text.size());
}

TEST_F(ReconcilePending, ALateWriteToWhatAUserRemovedIsOfNoConcern) {
  const NodeId old = source_has(kRootNode, {"f"}).at(0);
  must(local().unlink(kRootNode, "f"));
  must(pending().acknowledge({.names = {{kRootNode, "f", 0}}, .nodes = {}}));
  const std::string text = "late";
  must(local().write(old, 1, std::as_bytes(std::span(text))));
  EXPECT_THAT(must(pending().conflicts(10)), IsEmpty());
  EXPECT_THAT(list(), IsEmpty());
}

TEST_F(ReconcilePending, KeepOurs) {
  const Node ours = must(local().create(kRootNode, "f", new_file()));
  source_has(kRootNode, {"gone"});
  must(local().unlink(kRootNode, "gone"));
  Listing theirs;
  theirs.file("f", 99, 3);
  theirs.file("gone", 1);
  const Applied applied = list_of(theirs);
  const ListedName listed = applied.collisions.at(0).theirs.view();
  EXPECT_THAT(must(pending().keep_ours(kRootNode, "f", &listed)), IsEmpty());
  EXPECT_EQ(at("f").id, ours.id);
  BaseNode base = must(pending().base_of(ours.id));
  EXPECT_TRUE(base.foreign);
  EXPECT_EQ(base.attr.size, 99U);
  EXPECT_EQ(must(pending().base_binding(kRootNode, "f")), ours.id);
  expect_settled(theirs);
  // Theirs is a directory: ours is to take its place.
  must(pending().acknowledge({.names = {{kRootNode, "f", 0}}, .nodes = {}}));
  Listing directory;
  directory.directory("f");
  directory.file("gone", 2, 9);
  const Applied second = apply(*store_, kRootNode, directory, false);
  const ListedName other = second.collisions.at(0).theirs.view();
  must(pending().keep_ours(kRootNode, "f", &other));
  must(store_->check());
  const NodeId hidden = must(pending().base_binding(kRootNode, "f"));
  EXPECT_NE(hidden, ours.id);
  EXPECT_TRUE(S_ISDIR(must(pending().base_of(hidden)).attr.mode));
  EXPECT_EQ(at("f").id, ours.id);
  must(pending().acknowledge({.names = {{kRootNode, "f", 0}}, .nodes = {}}));
  EXPECT_FALSE(store_->node(hidden).ok());
  // What was removed here goes on to be removed, though it changed there.
  EXPECT_TRUE(exists("gone"));
  must(local().unlink(kRootNode, "gone"));
  Listing again;
  ListedName& newest = again.file("gone", 3, 10);
  must(pending().keep_ours(kRootNode, "gone", &newest));
  must(store_->check());
  EXPECT_FALSE(exists("gone"));
  EXPECT_EQ(must(pending().base_of(must(pending().base_binding(kRootNode, "gone")))).attr.size, 3U);
}

TEST_F(ReconcilePending, TakeTheirs) {
  const auto top = source_has(kRootNode, {"a", "d/", "gone/"});
  const auto in_d = source_has(top[1], {"x"});
  source_has(top[2], {"y"});
  // Something new, something brought from elsewhere, and a directory that is to be removed.
  const Node made = must(local().create(kRootNode, "new", new_directory()));
  must(local().create(made.id, "below", new_file()));
  must(local().rename(top[1], "x", made.id, "brought", RenameMode::kReplace));
  must(local().unlink(top[2], "y"));
  must(local().remove_directory(kRootNode, "gone"));
  must(local().change_attributes(top[0], {.permissions = 0600}));
  Listing theirs;
  ListedName& file = theirs.file("new", 7, 7);
  must(pending().take_theirs(kRootNode, "new", &file));
  must(store_->check());
  EXPECT_EQ(at("new").attr.size, 7U);
  EXPECT_EQ(at(top[1], "x").id, in_d[0]) << "back where it was";
  ListedName& directory = theirs.directory("gone");
  must(pending().take_theirs(kRootNode, "gone", &directory));
  must(store_->check());
  EXPECT_EQ(at("gone").id, top[2]);
  EXPECT_EQ(at("gone").listed_at_s, 0) << "to be listed again";
  EXPECT_EQ(must(pending().names(0, 10)).size(), 1U) << "what was removed in it still is to be";
  must(pending().take_theirs(kRootNode, "a", nullptr));
  EXPECT_FALSE(exists("a"));
  must(pending().acknowledge({.names = {{top[2], "y", 0}}, .nodes = {}}));
  EXPECT_TRUE(nothing_pending());
}

}  // namespace
}  // namespace rsyncfs
