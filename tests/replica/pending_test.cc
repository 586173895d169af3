// SPDX-License-Identifier: GPL-3.0-or-later
// What is to be pushed, and what becomes of it when the source has acknowledged it.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "sync/replica/base_rows.h"
#include "tests/replica/local_rig.h"

namespace rsyncfs {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;

class Pending : public LocalRig {};

int64_t unix_ms() {
  const FileTime now = FileTime::now();
  return now.s * 1000 + now.ns / 1'000'000;
}

TEST_F(Pending, IsInTheOrderOfTheFirstChange) {
  const int64_t began = unix_ms();
  std::vector<NodeId> made;
  for (const char* name : {"c", "a", "b"}) {
    made.push_back(must(local().create(kRootNode, name, new_file())).id);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // those of one moment have no order
  }
  must(local().change_attributes(made[0], {.permissions = 0600}));
  const PendingSummary summary = pending().summary();
  EXPECT_EQ(summary.names, 3U);
  EXPECT_EQ(summary.nodes, 3U);
  EXPECT_GE(summary.oldest_ms, began);
  EXPECT_LE(summary.oldest_ms, unix_ms());
  const auto nodes = must(pending().nodes(0, 100));
  ASSERT_EQ(nodes.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(nodes[i].local.id, made[i]);
    EXPECT_FALSE(nodes[i].base.present);
    EXPECT_EQ(nodes[i].differences, uint32_t{kAbsentAtSource | kBytesDiffer | kModeDiffers | kOwnerDiffers |
                                             kMtimeDiffers | kXattrsDiffer});
    EXPECT_GE(nodes[i].since_ms, began);
    EXPECT_GE(nodes[i].changed_ms, nodes[i].since_ms);
  }
  EXPECT_EQ(must(pending().nodes(1, 1)).at(0).local.id, made[1]);
  EXPECT_EQ(must(pending().names(0, 100)).size(), 3U);
  EXPECT_EQ(must(pending().names(2, 100)).size(), 1U);
  EXPECT_THAT(must(pending().names(3, 100)), IsEmpty());
  reopen();
  EXPECT_EQ(pending().summary().oldest_ms, summary.oldest_ms);
  EXPECT_EQ(pending().summary().nodes, 3U);
}

// However it came about: what has another size there is to be pushed as a whole, and is no attribute's
// change.
TEST_F(Pending, BytesOfAnotherSizeDiffer) {
  const NodeId file = source_has(kRootNode, {"f"})[0];
  BaseNode there = must(pending().base_of(file));
  there.attr.size += 1;
  must(pending().acknowledge({{}, {there}}));
  const auto differs = must(pending().node(file));
  ASSERT_TRUE(differs.has_value());
  EXPECT_NE(differs->differences & kBytesDiffer, 0U);
  EXPECT_TRUE(differs->base.foreign);
  there.attr.size -= 1;
  must(pending().acknowledge({{}, {there}}));
  EXPECT_FALSE(must(pending().node(file)).has_value());
}

TEST_F(Pending, BaseChildrenAreWhatTheSourceHas) {
  const auto nodes = source_has(kRootNode, {"a", "b", "c/", "d"});
  const Node made = must(local().create(kRootNode, "aa", new_file()));
  must(local().rename(kRootNode, "b", nodes[2], "moved", RenameMode::kReplace));
  must(local().rename(kRootNode, "aa", kRootNode, "d", RenameMode::kReplace));
  EXPECT_THAT(must(pending().base_children(kRootNode, 100)),
              ElementsAre(Binding{kRootNode, "a", nodes[0]}, Binding{kRootNode, "b", nodes[1]},
                          Binding{kRootNode, "c", nodes[2]}, Binding{kRootNode, "d", nodes[3]}));
  EXPECT_THAT(must(pending().base_children(kRootNode, 2)), testing::SizeIs(2));
  EXPECT_THAT(must(pending().base_children(nodes[2], 100)), IsEmpty());
  EXPECT_THAT(must(pending().base_names_of(made.id, 10)), IsEmpty());
  EXPECT_EQ(must(pending().base_binding(kRootNode, "aa")), 0U);
  EXPECT_EQ(must(pending().base_binding(kRootNode, "a")), nodes[0]);
  EXPECT_EQ(must(pending().base_binding(nodes[2], "moved")), 0U);
  EXPECT_EQ(must(pending().local_binding(nodes[2], "moved")), nodes[1]);
}

TEST_F(Pending, WhatIsPushedStepByStepIsNoDifferenceInTheEnd) {
  const auto nodes = source_has(kRootNode, {"old"});
  const Node d = must(local().create(kRootNode, "d", new_directory()));
  const Node link = must(local().create(d.id, "l", new_symlink("t")));
  must(local().rename(kRootNode, "old", d.id, "new", RenameMode::kReplace));
  must(local().change_attributes(nodes[0], {.permissions = 0600}));
  EXPECT_EQ(pending().remote_place(d.id).error().code(), Errc::kNotFound);
  BaseNode made = as_it_is(d.id);
  made.attr.mtime_s += 5;
  must(pending().acknowledge({.names = {{kRootNode, "d", d.id}}, .nodes = {made}}));
  EXPECT_EQ(state(d.id).differences, uint32_t{kMtimeDiffers}) << "of a new directory all is owed";
  EXPECT_EQ(must(pending().remote_place(d.id)).path, "d");
  must(pending().acknowledge({.names = {{d.id, "l", link.id}}, .nodes = {as_it_is(link.id)}}));
  EXPECT_EQ(state(link.id).differences, 0U);
  must(pending().acknowledge({.names = {{d.id, "new", nodes[0]}}, .nodes = {}}));
  EXPECT_THAT(must(pending().base_names_of(nodes[0], 10)), testing::SizeIs(2));
  must(pending().acknowledge({.names = {{kRootNode, "old", 0}}, .nodes = {}}));
  EXPECT_EQ(must(pending().remote_place(nodes[0])).path, "d/new");
  must(pending().acknowledge({.names = {}, .nodes = {as_it_is(nodes[0]), as_it_is(d.id)}}));
  EXPECT_TRUE(nothing_pending());
}

TEST_F(Pending, WhatChangedWhileItWasPushedStillDiffers) {
  const Node f = must(local().create(kRootNode, "f", new_file()));
  const BaseNode then = as_it_is(f.id);
  must(local().change_attributes(f.id, {.permissions = 0600}));
  must(local().rename(kRootNode, "f", kRootNode, "g", RenameMode::kReplace));
  must(pending().acknowledge({.names = {{kRootNode, "f", f.id}}, .nodes = {then}}));
  EXPECT_THAT(differing_names(), ElementsAre(leads("f", f.id, 0), leads("g", 0, f.id)));
  EXPECT_EQ(state(f.id).differences, uint32_t{kModeDiffers});
  EXPECT_EQ(must(pending().remote_place(f.id)).path, "f");
}

TEST_F(Pending, WhatFollowsFromADifferenceIsAsOldAsTheOldest) {
  const auto nodes = source_has(kRootNode, {"a", "b"});
  must(local().rename(kRootNode, "a", kRootNode, "b", RenameMode::kExchange));
  const int64_t since = must(pending().names(0, 1)).at(0).since_ms;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  must(pending().acknowledge({.names = {{kRootNode, "spare", nodes[1]}, {kRootNode, "b", 0}}, .nodes = {}}));
  EXPECT_THAT(must(pending().names(0, 10)), Each(Field(&PendingName::since_ms, since)));
}

TEST_F(Pending, WhatWasRemovedWhileItWasPushedIsToBeRemovedThereToo) {
  const Node kept = must(local().create(kRootNode, "kept", new_file()));
  const Node gone = must(local().create(kRootNode, "gone", new_directory()));
  const BaseNode kept_then = as_it_is(kept.id);
  const BaseNode gone_then = as_it_is(gone.id);
  must(local().unlink(kRootNode, "kept"));
  must(local().remove_directory(kRootNode, "gone"));
  must(store_->forget_orphans({gone.id}));
  EXPECT_FALSE(store_->node(gone.id).ok());
  must(pending().acknowledge({.names = {{kRootNode, "kept", kept.id}, {kRootNode, "gone", gone.id}},
                              .nodes = {kept_then, gone_then}}));
  must(store_->check());
  EXPECT_THAT(differing_names(), ElementsAre(leads("gone", gone.id, 0), leads("kept", kept.id, 0)));
  EXPECT_TRUE(S_ISDIR(must(pending().base_of(gone.id)).attr.mode));
  must(pending().acknowledge({.names = {{kRootNode, "kept", 0}, {kRootNode, "gone", 0}}, .nodes = {}}));
  EXPECT_TRUE(nothing_pending());
  EXPECT_FALSE(store_->node(gone.id).ok()) << "nobody holds it";
  EXPECT_EQ(must(store_->purge_orphans(10)), 1U);
}

TEST_F(Pending, WhatTheSourceLostIsAbsentThere) {
  const auto nodes = source_has(kRootNode, {"d/"});
  const auto inner = source_has(nodes[0], {"x", "y/", "z"});
  store_content(*store_, inner[0], known_bytes(1, 1));
  must(local().rename(nodes[0], "x", kRootNode, "moved", RenameMode::kReplace));
  // Nothing is here of its bytes, and nothing there any more.
  must(local().rename(nodes[0], "z", kRootNode, "hollow", RenameMode::kReplace));
  // The directory was removed there with all that it had.
  must(pending().acknowledge({.names = {{kRootNode, "d", 0}}, .nodes = {}}));
  EXPECT_FALSE(exists("hollow"));
  EXPECT_THAT(differing_names(),
              ElementsAre(leads("d", 0, nodes[0]), leads("moved", 0, inner[0]), leads("y", 0, inner[1])));
  for (const NodeId node : {nodes[0], inner[0], inner[1]}) {
    EXPECT_EQ(state(node).differences & kAbsentAtSource, uint32_t{kAbsentAtSource});
  }
  must(local().unlink(kRootNode, "moved"));
  must(local().remove_directory(nodes[0], "y"));
  must(local().remove_directory(kRootNode, "d"));
  EXPECT_TRUE(nothing_pending());
}

TEST_F(Pending, ConflictsAreKeptUntilTheyAreCleared) {
  ConflictRecord record{0, 77, "a/b", "a/b.conflict", "both changed it"};
  must(pending().record_conflict(record));
  record.path = "c";
  record.copy_path = "";
  must(pending().record_conflict(record));
  reopen();
  auto all = must(pending().conflicts(100));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].path, "c") << "the latest first";
  EXPECT_EQ(all[1].copy_path, "a/b.conflict");
  EXPECT_EQ(all[1].at_s, 77);
  EXPECT_EQ(all[1].what, "both changed it");
  EXPECT_EQ(must(pending().conflicts(1)).size(), 1U);
  must(pending().clear_conflicts({all[0].id, 4711}));
  all = must(pending().conflicts(100));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].path, "a/b");
}

}  // namespace
}  // namespace rsyncfs
