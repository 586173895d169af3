// SPDX-License-Identifier: GPL-3.0-or-later
// A list in which one file vanished and a like one appeared says that it was renamed.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/replica/local_rig.h"

namespace rsyncfs {
namespace {

using Kind = NameChange::Kind;

void add_timed(Listing& listing, const std::string& name, uint32_t mtime_ns) {
  NodeAttributes attr = file_attributes(10, 1);
  attr.mtime_ns = mtime_ns;
  listing.add(name, attr);
}

class Renamed : public ::testing::Test {
 protected:
  Renamed() {
    Listing directories;
    directories.directory("a");
    directories.directory("b");
    const auto made = apply(*store_, kRootNode, directories).nodes;
    a_ = made[0];
    b_ = made[1];
    Listing files;
    add_timed(files, "old", 5);
    add_timed(files, "other", 6);
    const auto nodes = apply(*store_, b_, files).nodes;
    old_ = nodes[0];
    other_ = nodes[1];
    store_content(*store_, old_, known_bytes(1, 10));
  }
  static NameChange of(const Applied& applied, const std::string& name) {
    const auto found = std::find_if(applied.changes.begin(), applied.changes.end(),
                                    [&](const NameChange& change) { return change.name == name; });
    return found == applied.changes.end() ? NameChange() : *found;
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
  NodeId a_ = 0;
  NodeId b_ = 0;
  NodeId old_ = 0;
  NodeId other_ = 0;
};

TEST_F(Renamed, IsToldWithItsNewName) {
  Listing listing;
  add_timed(listing, "new", 5);
  add_timed(listing, "other", 6);
  const Applied applied = apply(*store_, b_, listing);
  EXPECT_EQ(of(applied, "old").kind, Kind::kRemoved);
  EXPECT_EQ(of(applied, "new").kind, Kind::kCreated);
  EXPECT_EQ(of(applied, "new").renamed, old_);
}

TEST_F(Renamed, IsToldWithItsOldNameWhereThatIsListedLater) {
  HardLinkGroups groups;
  Listing in_a;
  add_timed(in_a, "new", 5);
  const Applied came = apply(*store_, a_, in_a, true, groups);
  EXPECT_EQ(of(came, "new").renamed, 0U);
  Listing in_b;
  add_timed(in_b, "other", 6);
  const Applied went = apply(*store_, b_, in_b, true, groups);
  EXPECT_EQ(of(went, "old").kind, Kind::kRemoved);
  EXPECT_EQ(of(went, "old").renamed, only_node(came));
}

TEST_F(Renamed, OverAnotherFile) {
  store_content(*store_, other_, known_bytes(2, 10));
  Listing listing;
  add_timed(listing, "other", 5);
  const Applied applied = apply(*store_, b_, listing);
  EXPECT_EQ(of(applied, "other").kind, Kind::kReplaced);
  EXPECT_EQ(of(applied, "other").renamed, old_);
}

// That one goes on with the other version, and is made of what it was.
TEST_F(Renamed, OverAFileThatNobodyRead) {
  Listing listing;
  add_timed(listing, "other", 5);
  const Applied applied = apply(*store_, b_, listing);
  EXPECT_EQ(only_node(applied), other_);
  EXPECT_EQ(of(applied, "other").kind, Kind::kAttributes);
  EXPECT_EQ(of(applied, "other").renamed, old_);
  EXPECT_NE(must(store_->basis(other_)), nullptr);
  must(store_->check());
}

TEST_F(Renamed, NotWhenAnotherListShowsIt) {
  Listing nothing;
  apply(*store_, b_, nothing);
  Listing listing;
  add_timed(listing, "new", 5);
  EXPECT_EQ(of(apply(*store_, a_, listing), "new").renamed, 0U);
}

class RenamedDirectory : public ::testing::Test {
 protected:
  RenamedDirectory() {
    const Applied made = list({{"d", 5}});
    d_ = only_node(made);
    Listing below;
    below.file("f", 10);
    f_ = only_node(apply(*store_, d_, below));
    store_content(*store_, f_, known_bytes(1, 10));
  }
  Applied list(const std::vector<std::pair<std::string, uint32_t>>& directories) {
    Listing listing;
    for (const auto& [name, mtime_ns] : directories) {
      NodeAttributes attr = directory_attributes();
      attr.mtime_ns = mtime_ns;
      listing.add(name, attr);
    }
    return apply(*store_, kRootNode, listing);
  }
  NodeId at(const std::string& name) {
    const auto found = store_->lookup(kRootNode, name);
    return found ? found->id : 0;
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
  NodeId d_ = 0;
  NodeId f_ = 0;
};

TEST_F(RenamedDirectory, StaysWithAllThatIsBelow) {
  const Applied applied = list({{"new", 5}, {"other", 6}});
  EXPECT_EQ(at("new"), d_);
  EXPECT_EQ(at("d"), 0U);
  EXPECT_EQ(applied.nodes.at(0), d_);
  EXPECT_EQ(must(store_->path_of(f_)), "new/f");
  EXPECT_EQ(stored_content(*store_, f_), known_bytes(1, 10));
  std::vector<std::pair<Kind, std::string>> told;
  for (const NameChange& change : applied.changes) {
    if (change.node == d_) told.emplace_back(change.kind, change.name);
  }
  EXPECT_EQ(told,
            (std::vector<std::pair<Kind, std::string>>{{Kind::kRemoved, "d"}, {Kind::kCreated, "new"}}));
  EXPECT_EQ(must(store_->node(kRootNode)).attr.nlink, 4U);
  must(store_->check());
}

TEST_F(RenamedDirectory, IsNotGuessedAmongSeveral) {
  list({{"one", 5}, {"two", 5}});
  EXPECT_NE(at("one"), d_);
  EXPECT_NE(at("two"), d_);
  EXPECT_EQ(store_->path_of(f_).error().code(), Errc::kNotFound);
  must(store_->check());
}

TEST_F(RenamedDirectory, IsAnotherOneOtherwise) {
  list({{"later", 6}});
  EXPECT_NE(at("later"), d_);
  const NodeId later = at("later");
  list({{"whole_second", 0}});
  list({{"another_whole_second", 0}});
  EXPECT_NE(at("another_whole_second"), later);
  must(store_->check());
}

// As everywhere, they are at the place where they were made.
TEST_F(RenamedDirectory, WithLocalChangesInItIsNotFollowed) {
  must(store_->local().create(d_, "mine", new_file()));
  list({{"new", 5}});
  EXPECT_NE(at("new"), d_);
  EXPECT_EQ(at("d"), d_);
  must(store_->check());
}

TEST_F(RenamedDirectory, WhatIsBelowIsWhatItsOwnListShows) {
  list({{"new", 5}});
  Listing below;
  below.file("f", 10);
  below.file("added", 1);
  const Applied applied = apply(*store_, d_, below);
  EXPECT_EQ(applied.nodes.at(1), f_);
  Listing other;
  other.file("f", 11, 2);
  apply(*store_, d_, other);
  EXPECT_NE(must(store_->lookup(d_, "f")).id, f_);
  must(store_->check());
}

}  // namespace
}  // namespace rsyncfs
