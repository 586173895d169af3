// SPDX-License-Identifier: GPL-3.0-or-later
// What one listing after the other makes of the names and nodes.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "tests/replica/replica_rig.h"

namespace rsyncfs {
namespace {

using Kind = NameChange::Kind;
using testing::ElementsAre;
using testing::IsEmpty;

class Names : public testing::Test {
 protected:
  std::vector<std::string> list(NodeId directory) {
    std::vector<std::string> out;
    must(store_->list(directory, [&out](std::string_view name, const Node&) { out.emplace_back(name); }));
    return out;
  }
  void TearDown() override {
    if (store_) must(store_->check());
  }
  void reopen() {
    store_.reset();
    store_ = open_store(tmp_.path());
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
};

TEST_F(Names, AreCreatedFoundAndKept) {
  Listing listing;
  listing.file("b", 10, 5).attr.mtime_ns = 999999999;
  listing.directory("a");
  listing.link("c", "to/there");
  listing.file(std::string("\xff\x01odd\n", 6), 1);
  const Applied applied = apply(*store_, kRootNode, listing);
  ASSERT_EQ(applied.nodes.size(), 4U);
  for (const NameChange& change : applied.changes) {
    EXPECT_TRUE(change.kind == Kind::kCreated ||
                (change.kind == Kind::kAttributes && change.node == kRootNode));
  }
  reopen();
  EXPECT_THAT(list(kRootNode), ElementsAre("a", "b", "c", std::string("\xff\x01odd\n", 6)));
  const Node b = must(store_->lookup(kRootNode, "b"));
  EXPECT_EQ(b.id, applied.nodes[1]);
  EXPECT_EQ(b.attr.size, 10U);
  EXPECT_EQ(b.attr.mtime_s, 5);
  EXPECT_EQ(b.attr.mtime_ns, 999999999U);
  EXPECT_EQ(b.attr.nlink, 1U);
  EXPECT_EQ(must(store_->link_target(applied.nodes[2])), "to/there");
  EXPECT_EQ(must(store_->path_of(b.id)), "b");
  EXPECT_EQ(must(store_->path_of(kRootNode)), "");
  EXPECT_EQ(must(store_->name_of(b.id)), (std::pair<NodeId, std::string>{kRootNode, "b"}));
  EXPECT_EQ(store_->name_of(kRootNode).error().code(), Errc::kNotFound);
  const Node root = must(store_->node(kRootNode));
  EXPECT_EQ(root.attr.nlink, 3U);
  EXPECT_NE(root.listed_at_s, 0);
}

TEST_F(Names, UnchangedWriteNothing) {
  Listing listing;
  listing.file("a", 1);
  listing.directory("d");
  listing.link("l", "x");
  const Applied first = apply(*store_, kRootNode, listing);
  const Applied second = apply(*store_, kRootNode, listing);
  EXPECT_THAT(second.changes, IsEmpty());
  EXPECT_EQ(second.nodes, first.nodes);
}

TEST_F(Names, AnotherVersionIsAnotherNodeOfTheSameIno) {
  Listing one;
  one.file("f", 5, 100);
  const NodeId old_node = only_node(apply(*store_, kRootNode, one));
  store_content(*store_, old_node, known_bytes(1, 5));
  for (const auto change_version :
       {+[](NodeAttributes& a) { a.size = 6; }, +[](NodeAttributes& a) { a.mtime_s = 101; },
        +[](NodeAttributes& a) { a.mtime_ns = 1; }}) {
    const Node before = must(store_->lookup(kRootNode, "f"));
    store_content(*store_, before.id, known_bytes(before.id, before.attr.size));
    Listing other;
    ListedName& name = other.file("f", before.attr.size, before.attr.mtime_s);
    name.attr.mtime_ns = before.attr.mtime_ns;
    change_version(name.attr);
    const Applied applied = apply(*store_, kRootNode, other);
    ASSERT_EQ(applied.changes.size(), 1U);
    EXPECT_EQ(applied.changes[0].kind, Kind::kReplaced);
    EXPECT_EQ(applied.changes[0].old_node, before.id);
    EXPECT_EQ(applied.changes[0].node, applied.nodes[0]);
    EXPECT_GT(applied.nodes[0], before.id);
    const Node now = must(store_->node(applied.nodes[0]));
    EXPECT_EQ(now.ino, old_node);
    // The old version is there for who still has it open.
    EXPECT_TRUE(must(store_->node(before.id)).orphan);
    EXPECT_EQ(stored_content(*store_, before.id), known_bytes(before.id, before.attr.size));
    EXPECT_EQ(store_->path_of(before.id).error().code(), Errc::kNotFound);
  }
}

TEST_F(Names, AnotherVersionOfAFileThatNobodySawKeepsTheNode) {
  Listing one;
  one.file("f", 5, 100);
  const NodeId node = only_node(apply(*store_, kRootNode, one));
  auto late = must(store_->create_content(node, 5));
  must(late->write(0, known_bytes(1, 5)));
  Listing other;
  other.file("f", 7, 101);
  const Applied applied = apply(*store_, kRootNode, other);
  EXPECT_EQ(only_node(applied), node);
  ASSERT_EQ(applied.changes.size(), 1U);
  EXPECT_EQ(applied.changes[0].kind, Kind::kAttributes);
  EXPECT_EQ(must(store_->node(node)).attr.size, 7U);
  // The bytes of the version before come too late, and must not pass for the new one's.
  std::vector<Replica::FinishedContent> finished(1);
  finished[0].node = node;
  finished[0].writer = std::move(late);
  finished[0].size = 5;
  must(store_->finish_contents(std::move(finished)));
  EXPECT_EQ(must(store_->content(node)), nullptr);
  // The same when the version is told.
  auto told = must(store_->create_content(node, 5));
  must(told->write(0, known_bytes(1, 5)));
  finished = std::vector<Replica::FinishedContent>(1);
  finished[0].node = node;
  finished[0].writer = std::move(told);
  finished[0].size = 5;
  finished[0].version = FileVersion{5, 100, 0};
  must(store_->finish_contents(std::move(finished)));
  EXPECT_EQ(must(store_->content(node)), nullptr);
  EXPECT_EQ(must(store_->node(node)).attr.size, 7U);
}

TEST_F(Names, AttributesStayOnTheNode) {
  Listing one;
  one.file("f", 5);
  one.directory("d");
  one.link("l", "t");
  one.add("p", file_attributes(0, 1, S_IFIFO | 0600));
  const Applied first = apply(*store_, kRootNode, one);
  store_content(*store_, first.nodes[1], known_bytes(1, 5));
  Listing two;
  ListedName& file = two.file("f", 5);
  file.attr.mode = S_IFREG | 04755;
  file.attr.uid = 7;
  two.directory("d").attr.mtime_s = 99;
  two.link("l", "t").attr.mtime_s = 98;
  two.add("p", file_attributes(0, 97, S_IFIFO | 0600));
  const Applied second = apply(*store_, kRootNode, two);
  EXPECT_EQ(second.nodes, first.nodes);
  ASSERT_EQ(second.changes.size(), 4U);
  for (const NameChange& change : second.changes) EXPECT_EQ(change.kind, Kind::kAttributes);
  EXPECT_EQ(must(store_->node(first.nodes[1])).attr.mode, S_IFREG | 04755U);
  EXPECT_EQ(must(store_->node(first.nodes[0])).attr.mtime_s, 99);
}

TEST_F(Names, OtherThingsUnderANameReplace) {
  Listing one;
  one.link("link", "a");
  NodeAttributes device = file_attributes(0, 1, S_IFCHR | 0600);
  device.rdev_major = 1;
  device.rdev_minor = 0xfffff;
  one.add("device", device);
  one.directory("type");
  const Applied first = apply(*store_, kRootNode, one);
  EXPECT_EQ(must(store_->node(first.nodes[0])).attr.rdev_minor, 0xfffffU);
  Listing two;
  two.link("link", "b");
  device.rdev_minor = 4;
  two.add("device", device);
  two.file("type", 1);
  const Applied second = apply(*store_, kRootNode, two);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NE(second.nodes[i], first.nodes[i]);
    EXPECT_EQ(must(store_->node(second.nodes[i])).ino, first.nodes[i]);
    EXPECT_TRUE(must(store_->node(first.nodes[i])).orphan);
  }
  EXPECT_EQ(must(store_->link_target(first.nodes[1])), "a");
  EXPECT_EQ(must(store_->link_target(second.nodes[1])), "b");
  EXPECT_EQ(must(store_->node(kRootNode)).attr.nlink, 2U);
}

TEST_F(Names, GoOnlyWhenTheListingIsComplete) {
  Listing one;
  one.file("a", 1);
  one.file("b", 1);
  one.directory("d");
  const Applied first = apply(*store_, kRootNode, one);
  Listing some;
  some.file("b", 1);
  some.file("c", 1);
  apply(*store_, kRootNode, some, false);
  EXPECT_THAT(list(kRootNode), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(must(store_->node(kRootNode)).attr.nlink, 3U);
  const Applied last = apply(*store_, kRootNode, some);
  EXPECT_THAT(list(kRootNode), ElementsAre("b", "c"));
  EXPECT_EQ(must(store_->node(kRootNode)).attr.nlink, 2U);
  std::vector<NodeId> removed;
  for (const NameChange& change : last.changes) {
    if (change.kind == Kind::kRemoved) removed.push_back(change.node);
  }
  EXPECT_THAT(removed, ElementsAre(first.nodes[0], first.nodes[2]));
}

TEST_F(Names, ARemovedDirectoryTakesEverythingBelow) {
  Listing top;
  top.directory("d");
  const NodeId d = only_node(apply(*store_, kRootNode, top));
  Listing inner;
  inner.directory("e");
  inner.file("f", 3);
  const Applied in_d = apply(*store_, d, inner);
  Listing deep;
  deep.file("g", 4);
  const NodeId g = only_node(apply(*store_, in_d.nodes[0], deep));
  store_content(*store_, g, known_bytes(9, 4));
  EXPECT_EQ(must(store_->path_of(g)), "d/e/g");
  Listing nothing;
  const Applied gone = apply(*store_, kRootNode, nothing);
  EXPECT_EQ(gone.changes.at(0).kind, Kind::kRemoved);
  for (const NodeId node : {d, in_d.nodes[0], in_d.nodes[1], g}) EXPECT_TRUE(must(store_->node(node)).orphan);
  EXPECT_THAT(list(d), IsEmpty());
  EXPECT_EQ(stored_content(*store_, g), known_bytes(9, 4));
  EXPECT_EQ(store_->path_of(g).error().code(), Errc::kNotFound);
  // Nothing more can be listed into it.
  auto batch = must(store_->begin());
  HardLinkGroups groups;
  std::vector<NodeId> nodes;
  EXPECT_EQ(batch->apply_directory(d, inner.take(), true, groups, nodes).error().code(), Errc::kNotFound);
}

TEST_F(Names, OrphansGoWhenForgottenOrPurged) {
  Listing one;
  one.file("a", 1);
  one.file("b", 1);
  one.file("c", 100000);
  const Applied first = apply(*store_, kRootNode, one);
  for (const NodeId node : first.nodes)
    store_content(*store_, node, known_bytes(node, node == first.nodes[2] ? 100000 : 1));
  Listing rest;
  rest.file("a", 1);
  apply(*store_, kRootNode, rest);
  EXPECT_EQ(must(store_->statistics()).cached_files, 3U);
  must(store_->forget_orphans({first.nodes[0], first.nodes[1], 4711}));
  EXPECT_TRUE(store_->node(first.nodes[0]).ok());
  EXPECT_EQ(store_->node(first.nodes[1]).error().code(), Errc::kNotFound);
  EXPECT_EQ(must(store_->content(first.nodes[1])), nullptr);
  reopen();
  EXPECT_TRUE(must(store_->node(first.nodes[2])).orphan);
  EXPECT_EQ(must(store_->purge_orphans(100)), 1U);
  EXPECT_EQ(must(store_->purge_orphans(100)), 0U);
  const ReplicaStatistics statistics = must(store_->statistics());
  EXPECT_EQ(statistics.nodes, 2U);
  EXPECT_EQ(statistics.cached_files, 1U);
  EXPECT_EQ(statistics.cached_bytes, 1U);
  // Their numbers are not given again.
  Listing again;
  again.file("z", 1);
  EXPECT_GT(only_node(apply(*store_, kRootNode, again)), first.nodes[2]);
}

TEST_F(Names, WithoutCommitNothingHappened) {
  Listing one;
  one.file("a", 1);
  const StoredXattrs xattrs = {{"user.x", "1", 1, false}};
  one.file("b", 1).xattrs = &xattrs;
  {
    auto batch = must(store_->begin());
    HardLinkGroups groups;
    std::vector<NodeId> nodes;
    must(batch->apply_directory(kRootNode, one.take(), true, groups, nodes));
  }
  EXPECT_THAT(list(kRootNode), IsEmpty());
  EXPECT_EQ(must(store_->statistics()).nodes, 1U);
  // What the batch had remembered of the set is void.
  const Applied applied = apply(*store_, kRootNode, one);
  EXPECT_EQ(must(store_->xattrs(applied.nodes[1])), xattrs);
}

TEST_F(Names, BadOrderIsRefused) {
  ListedName a;
  a.name = "a";
  a.attr = file_attributes(1);
  ListedName b = a;
  b.name = "b";
  for (const auto& names : {std::vector{b, a}, std::vector{a, a}}) {
    auto batch = must(store_->begin());
    HardLinkGroups groups;
    std::vector<NodeId> nodes;
    EXPECT_EQ(batch->apply_directory(kRootNode, names, true, groups, nodes).error().code(), Errc::kProtocol);
  }
}

TEST_F(Names, ArePagedInOrder) {
  Listing listing;
  for (const char* name : {"a", "b", "c", "d"}) listing.file(name, 1);
  apply(*store_, kRootNode, listing);
  const auto page = must(store_->list_after(kRootNode, "a", 2));
  ASSERT_EQ(page.size(), 2U);
  EXPECT_EQ(page[0].first.name, "b");
  EXPECT_EQ(page[1].first.name, "c");
  EXPECT_EQ(page[1].first.node, page[1].second.id);
  EXPECT_EQ(must(store_->list_after(kRootNode, "", 10)).size(), 4U);
  EXPECT_TRUE(must(store_->list_after(kRootNode, "d", 10)).empty());
}

TEST_F(Names, RootAttributesAreApplied) {
  ListedName self;
  self.name = ".";
  self.attr = directory_attributes();
  self.attr.mode = S_IFDIR | 01777;
  self.attr.mtime_s = -5;
  const StoredXattrs acl = {{"system.posix_acl_access", std::string("\2\0\0\0", 4), 4, false}};
  self.xattrs = &acl;
  auto batch = must(store_->begin());
  EXPECT_EQ(must(batch->apply_attributes(kRootNode, self)).size(), 1U);
  EXPECT_EQ(must(batch->apply_attributes(kRootNode, self)).size(), 0U);
  must(batch->commit());
  EXPECT_EQ(must(store_->node(kRootNode)).attr.mode, S_IFDIR | 01777U);
  EXPECT_EQ(must(store_->node(kRootNode)).attr.mtime_s, -5);
  EXPECT_EQ(must(store_->xattrs(kRootNode)), acl);
}

TEST_F(Names, EqualXattrSetsAreStoredOnce) {
  const StoredXattrs first = {{"user.a", "1", 1, false}, {"user.b", std::string(16, 'd'), 70000, true}};
  const StoredXattrs second = {{"user.a", "2", 1, false}};
  Listing listing;
  listing.file("a", 1).xattrs = &first;
  listing.file("b", 1).xattrs = &first;
  listing.file("c", 1).xattrs = &second;
  listing.file("d", 1);
  const Applied applied = apply(*store_, kRootNode, listing);
  EXPECT_EQ(must(store_->xattrs(applied.nodes[1])), first);
  EXPECT_EQ(must(store_->node(applied.nodes[0])).xattr_set, must(store_->node(applied.nodes[1])).xattr_set);
  EXPECT_NE(must(store_->node(applied.nodes[0])).xattr_set, must(store_->node(applied.nodes[2])).xattr_set);
  EXPECT_TRUE(must(store_->xattrs(applied.nodes[3])).empty());
  EXPECT_TRUE(apply(*store_, kRootNode, listing).changes.empty());
  // Not told is not the same as none.
  Listing unknown;
  for (const char* name : {"a", "b", "c"}) unknown.file(name, 1).xattrs_known = false;
  unknown.file("d", 1);
  EXPECT_TRUE(apply(*store_, kRootNode, unknown).changes.empty());
  Listing none;
  for (const char* name : {"a", "b", "c", "d"}) none.file(name, 1);
  const Applied cleared = apply(*store_, kRootNode, none);
  EXPECT_EQ(cleared.changes.size(), 3U);
  EXPECT_EQ(cleared.nodes, applied.nodes);
  EXPECT_TRUE(must(store_->xattrs(applied.nodes[1])).empty());
}

TEST_F(Names, LargeNumbersSurvive) {
  NodeAttributes attr = file_attributes((1ULL << 62) + 1, -9000000000);
  attr.uid = 4294967294U;
  attr.gid = 4294967295U;
  attr.mtime_ns = 1;
  Listing listing;
  listing.add("x", attr);
  const NodeId node = only_node(apply(*store_, kRootNode, listing));
  reopen();
  attr.nlink = 1;
  EXPECT_EQ(must(store_->node(node)).attr, attr);
  EXPECT_TRUE(apply(*store_, kRootNode, listing).changes.empty());
}

}  // namespace
}  // namespace rsyncfs
