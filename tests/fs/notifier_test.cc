// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/notifier.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fs/tree_rig.h"

namespace rsyncfs::testing {
namespace {

using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class NotifierTest : public ::testing::Test, public TreeRig {
 protected:
  void SetUp() override { notifier.attach(caches, *tree); }
  void TearDown() override { notifier.detach(); }
  std::vector<std::string> calls() {
    EXPECT_TRUE(notifier.wait_idle(seconds(10)));
    return caches.calls();
  }
  // What setting the scene sent is not what is tested.
  void forget_calls() {
    EXPECT_TRUE(notifier.wait_idle(seconds(10)));
    caches.clear();
  }
  static std::string id(NodeId node) { return std::to_string(node); }

  RecordingCaches caches;
};

TEST_F(NotifierTest, AFirstListingCostsNothing) {
  list(kRootNode, {file("a", 1), file("b", 1)});
  EXPECT_THAT(calls(), Not(Contains(HasSubstr("entry"))));
}

TEST_F(NotifierTest, ANewNameDropsItsAbsence) {
  list(kRootNode, {file("a", 1)});
  EXPECT_EQ(lookup(kRootNode, "b")->node, 0U);
  forget_calls();
  list(kRootNode, {file("a", 1), file("b", 1)});
  EXPECT_THAT(calls(), UnorderedElementsAre("entry 1 b", "all 1"));
}

TEST_F(NotifierTest, RemovedReplacedAndChanged) {
  const auto nodes = list(kRootNode, {file("gone", 1), file("new", 1), file("mode", 1), file("same", 1)});
  for (const char* name : {"gone", "new", "mode", "same"}) know(kRootNode, name);
  fill(nodes.at("new"), "x");
  fill(nodes.at("mode"), "x");
  forget_calls();
  list(kRootNode, {file("new", 2), file("mode", 1, 0600), file("same", 1)});
  EXPECT_THAT(calls(), UnorderedElementsAre("entry 1 gone", "attributes " + id(nodes.at("gone")),
                                            "entry 1 new", "attributes " + id(nodes.at("new")), "all 1",
                                            "attributes " + id(nodes.at("mode"))));
}

TEST_F(NotifierTest, WhatTheKernelDoesNotKnowIsNotSent) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  forget_calls();
  list(d, {file("a", 1), file("b", 1)});
  list(d, {file("b", 1, 0600)});
  EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(NotifierTest, AnotherNameOfAKnownInodeRefreshesItsLinkCount) {
  Name one = file("one", 1);
  one.attr.nlink = 2;
  one.group = 1;
  const NodeId inode = list(kRootNode, {one, directory("d")}).at("one");
  know(kRootNode, "one");
  forget_calls();
  notifier.on_changes({NameChange{NameChange::Kind::kCreated, node("d"), "two", inode, 0}});
  EXPECT_THAT(calls(), UnorderedElementsAre("attributes " + id(inode)));
}

TEST_F(NotifierTest, ContentDropsPages) {
  const NodeId a = list(kRootNode, {file("a", 1)}).at("a");
  forget_calls();
  notifier.on_content_changed(a);
  EXPECT_THAT(calls(), IsEmpty());
  know(kRootNode, "a");
  notifier.on_content_changed(a);
  EXPECT_THAT(calls(), UnorderedElementsAre("all " + id(a)));
}

TEST_F(NotifierTest, AFileMayGetLongerWhenItsPagesAreDropped) {
  const NodeId a = list(kRootNode, {file("a", 1)}).at("a");
  const NodeId unknown = a + 100;
  bool at_once = false;
  notifier.on_growth(unknown, [&] { at_once = true; });
  EXPECT_TRUE(at_once);
  EXPECT_FALSE(notifier.is_in_use(unknown));
  know(kRootNode, "a");
  EXPECT_TRUE(notifier.is_in_use(a));
  forget_calls();
  std::promise<std::vector<std::string>> sent;
  notifier.on_growth(a, [&] { sent.set_value(caches.calls()); });
  auto told = sent.get_future();
  ASSERT_EQ(told.wait_for(seconds(10)), std::future_status::ready);
  EXPECT_THAT(told.get(), ElementsAre("all " + id(a)));
}

TEST_F(NotifierTest, TheSameIsSentOnceWhileItWaits) {
  const NodeId a = list(kRootNode, {file("a", 1)}).at("a");
  forget_calls();
  know(kRootNode, "a");
  std::atomic<bool> go{false};
  std::atomic<int> inside{0};
  caches.inside = [&] {
    ++inside;
    while (!go.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  notifier.on_content_changed(a);
  while (inside.load() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (int i = 0; i < 10; ++i) notifier.on_content_changed(a);
  go = true;
  // One under way when the ten came, one for the ten.
  EXPECT_EQ(calls().size(), 2U);
  EXPECT_EQ(notifier.statistics().coalesced, 9U);
}

// An answer that was read before the change must be out before the kernel is told.
TEST_F(NotifierTest, WaitsForAnswersUnderWay) {
  const NodeId a = list(kRootNode, {file("a", 1)}).at("a");
  forget_calls();
  know(kRootNode, "a");
  std::atomic<bool> answered{false};
  std::atomic<bool> told_too_early{false};
  caches.inside = [&] { told_too_early = told_too_early || !answered; };
  std::atomic<bool> reading{false};
  std::thread slow([&] {
    tree->getattr(a, [&](const Result<struct stat>&) {
      reading = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      answered = true;
    });
  });
  while (!reading) std::this_thread::yield();
  notifier.on_content_changed(a);
  EXPECT_EQ(calls().size(), 1U);
  EXPECT_FALSE(told_too_early);
  slow.join();
}

// A file goes on with another version while the notifier is busy: its bytes are not answered before the
// kernel knows that the size it has is stale.
TEST_F(NotifierTest, BytesAreHeldUntilTheSizeIsForgotten) {
  const auto nodes = list(kRootNode, {file("busy", 1), file("f", 1), file("other", 1)});
  for (const char* name : {"busy", "f", "other"}) know(kRootNode, name);
  forget_calls();
  std::atomic<bool> go{false};
  std::atomic<bool> inside{false};
  const auto notifier_thread = [] {
    std::array<char, 16> name{};
    ::pthread_getname_np(::pthread_self(), name.data(), name.size());
    return std::string(name.data()) == "fuse-notifier";
  };
  caches.inside = [&] {
    if (!notifier_thread()) return;
    inside = true;
    while (!go.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  notifier.on_content_changed(nodes.at("busy"));
  while (!inside.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  notifier.on_changes({NameChange{NameChange::Kind::kAttributes, kRootNode, "f", nodes.at("f"), 0}});
  notifier.settle_attributes(nodes.at("other"));
  EXPECT_THAT(caches.calls(), IsEmpty());
  notifier.settle_attributes(nodes.at("f"));
  EXPECT_THAT(caches.calls(), ElementsAre("attributes " + id(nodes.at("f"))));
  go = true;
  // What the kernel learns while it is told again it does not believe.
  EXPECT_THAT(calls(), ElementsAre("attributes " + id(nodes.at("f")), "all " + id(nodes.at("busy"))));
}

// The kernel may wait for the very answer that is being held.
TEST_F(NotifierTest, BytesAreNotHeldForEver) {
  const NodeId a = list(kRootNode, {file("a", 1)}).at("a");
  know(kRootNode, "a");
  forget_calls();
  std::atomic<bool> go{false};
  caches.inside = [&] {
    while (!go.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  notifier.on_content_changed(a);
  notifier.settle_attributes(a);
  go = true;
  EXPECT_THAT(calls(), Contains("all " + id(a)));
}

TEST(NotifierLimitsTest, TooManyNamesBecomeTheirDirectory) {
  TreeRig rig;
  RecordingCaches caches;
  Notifier notifier(NotifierLimits{.names = 8, .everything = 20});
  const NodeId d = rig.list(kRootNode, {directory("d")}).at("d");
  rig.know(kRootNode, "d");
  EXPECT_EQ(rig.lookup(d, "nothing")->node, 0U);
  std::atomic<bool> go{false};
  std::atomic<bool> inside{false};
  caches.inside = [&] {
    inside = true;
    while (!go.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  notifier.attach(caches, *rig.tree);
  notifier.on_content_changed(kRootNode);
  while (!inside.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::vector<NameChange> changes;
  for (int i = 0; i < 100; ++i) {
    changes.push_back(
        {NameChange::Kind::kRemoved, d, "n" + std::to_string(i), 1000U + static_cast<NodeId>(i), 0});
  }
  notifier.on_changes(changes);
  const NotifierStatistics full = notifier.statistics();
  EXPECT_GT(full.overflows, 80U);
  EXPECT_LE(full.queued, 20U);
  go = true;
  EXPECT_TRUE(notifier.wait_idle(seconds(10)));
  // The directory's own name: with it the kernel drops all names below.
  EXPECT_THAT(caches.calls(), Contains("entry 1 d"));
  EXPECT_THAT(caches.calls(), Contains("all " + std::to_string(d)));
  EXPECT_THAT(caches.calls(), Not(Contains("entry " + std::to_string(d) + " n99")));
  notifier.detach();
}

TEST(NotifierLimitsTest, EventsBeforeAndAfterAreDropped) {
  TreeRig rig;
  RecordingCaches caches;
  Notifier notifier;
  notifier.on_content_changed(kRootNode);
  notifier.attach(caches, *rig.tree);
  EXPECT_TRUE(notifier.wait_idle(seconds(10)));
  notifier.detach();
  notifier.on_content_changed(kRootNode);
  EXPECT_THAT(caches.calls(), IsEmpty());
}

}  // namespace
}  // namespace rsyncfs::testing
