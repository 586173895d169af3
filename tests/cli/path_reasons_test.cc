// SPDX-License-Identifier: GPL-3.0-or-later
// Every reason that `info` gives, and that it gives none where nothing is in the way.
#include "fs/daemon/path_reasons.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class PathReasons : public ::testing::Test {
 protected:
  PathReasons() {
    info_.path = "a/b";
    info_.type = "file";
    info_.state = "cached";
    info_.size_bytes = info_.cached_bytes = 100;
    syncer_.link = LinkState::kUp;
    syncer_.directories_every_ms = 1'000;
    syncer_.tree_every_ms = 15'000;
  }
  std::vector<std::string> reasons() const {
    return path_reasons(info_, {syncer_, writable_, read_only_reason_, 1'000});
  }
  void make_dirty() {
    info_.state = "dirty";
    info_.differences = {"contents"};
    info_.changed_at_s = 995;
  }
  void make_remote() {
    info_.state = "remote";
    info_.cached_bytes = 0;
  }

  PathInfo info_;
  SyncerStatus syncer_;
  bool writable_ = true;
  std::string read_only_reason_;
};

TEST_F(PathReasons, NothingIsWrongWithAFileThatIsHere) {
  EXPECT_THAT(reasons(), IsEmpty());
}

TEST_F(PathReasons, TheSourceRefusesItOrADirectoryAboveIt) {
  syncer_.failing_paths = {"a/bc: no", "a/b: Permission denied"};
  EXPECT_THAT(reasons(), ElementsAre("the source refused it: Permission denied"));
  syncer_.failing_paths = {"a: Permission denied"};
  EXPECT_THAT(reasons(), ElementsAre("the source refused a, in which it is: Permission denied"));
  info_.path = "x\ny";
  syncer_.failing_paths = {"x\\012y: no"};
  EXPECT_THAT(reasons(), ElementsAre("the source refused it: no"));
}

TEST_F(PathReasons, ChangesAreRefused) {
  writable_ = false;
  EXPECT_THAT(reasons(), ElementsAre("changes of it are refused: the mount is read-only"));
  read_only_reason_ = "module is read only";
  EXPECT_THAT(reasons(),
              ElementsAre("changes of it are refused: the source takes none: module is read only"));
}

TEST_F(PathReasons, ItIsNotSentYet) {
  make_dirty();
  EXPECT_THAT(
      reasons(),
      ElementsAre("not sent yet: it was changed just now, and is sent when it is left alone for a moment"));
  info_.changed_at_s = 900;
  EXPECT_THAT(reasons(),
              ElementsAre("not sent yet: it is still being changed, or the source takes its time"));
  syncer_.push.pending_names = 5;
  EXPECT_THAT(reasons(), ElementsAre("not sent yet: it waits its turn, 5 changes are to be sent"));
}

TEST_F(PathReasons, ItCannotBeSent) {
  make_dirty();
  syncer_.push.failing = {"a/b: No space left on device, retry in 3 s"};
  EXPECT_THAT(reasons(), ElementsAre("not sent: No space left on device, retry in 3 s"));
  syncer_.push.failing = {"a: Permission denied, retry in 3 s"};
  EXPECT_THAT(
      reasons(),
      ElementsAre(
          "not sent: it waits for a, which the source did not take: Permission denied, retry in 3 s"));
  syncer_.push.failing.clear();
  syncer_.push.stopped = "9 deletions at once";
  EXPECT_THAT(reasons(), ElementsAre("sending is stopped: 9 deletions at once; rsyncfs resume goes on"));
  syncer_.push.stopped.clear();
  read_only_reason_ = "module is read only";
  EXPECT_THAT(reasons(),
              ElementsAre("not sent: the source takes no changes: module is read only; it is kept here"));
  read_only_reason_.clear();
  syncer_.link = LinkState::kDown;
  EXPECT_THAT(reasons(), ElementsAre("not sent: the source cannot be reached; it is sent when it is back",
                                     StartsWith("it may be stale: the source cannot be reached")));
}

TEST_F(PathReasons, ItIsUnderWay) {
  syncer_.transfers = {{"a/b", 25, 100}};
  EXPECT_THAT(reasons(), ElementsAre("being fetched: 25 of 100 bytes"));
  syncer_.transfers.clear();
  make_dirty();
  syncer_.push.sending = {{"a/b", 10, 100}};
  EXPECT_THAT(reasons(), ElementsAre("being sent: 10 of 100 bytes"));
}

TEST_F(PathReasons, ItIsSlowAtFirst) {
  make_remote();
  EXPECT_THAT(reasons(), ElementsAre("slow at first: 100 B of it must come from the source"));
  syncer_.waiting_requests = 2;
  EXPECT_THAT(
      reasons(),
      ElementsAre("slow at first: 100 B of it must come from the source, for which 2 requests wait now"));
  syncer_.link = LinkState::kConnecting;
  EXPECT_THAT(reasons(), ElementsAre("the connection is being made"));
  syncer_.link = LinkState::kDown;
  syncer_.last_error = "Connection refused";
  EXPECT_EQ(reasons().front(), "the source cannot be reached, and not all of it is here: Connection refused");
}

TEST_F(PathReasons, ADirectoryWasNeverListed) {
  info_.type = "directory";
  EXPECT_THAT(
      reasons(),
      ElementsAre("slow at first: its names were never listed, that takes a round trip to the source"));
  info_.listed_at_s = 5;
  EXPECT_THAT(reasons(), IsEmpty());
}

TEST_F(PathReasons, WhatIsFetchedIsNotKept) {
  make_remote();
  syncer_.cache.free_bytes = 10;
  syncer_.cache.min_free_bytes = 20;
  EXPECT_EQ(reasons().back(),
            "slow each time: the disk of the store is full (10 B free, min_free= is 20 B), so what is "
            "fetched is not kept");
  info_.state = "cached";
  EXPECT_THAT(reasons(), IsEmpty());
}

TEST_F(PathReasons, ItMayBeStale) {
  syncer_.tree_every_ms = 600'000;
  EXPECT_THAT(
      reasons(),
      ElementsAre("it may be stale while nobody uses its directory: the tree is looked at every 10 min"));
  syncer_.tree_every_ms = syncer_.directories_every_ms = 0;
  EXPECT_THAT(reasons(),
              ElementsAre("it may be stale: polling is off (poll=off), rsyncfs refresh asks the source"));
  syncer_.link = LinkState::kDown;
  EXPECT_THAT(
      reasons(),
      ElementsAre("it may be stale: the source cannot be reached; what is shown is of an earlier mount"));
  syncer_.tree_listed_at_s = 500;
  EXPECT_THAT(
      reasons(),
      ElementsAre(StartsWith("it may be stale: the source cannot be reached; the tree was last listed at ")));
  make_dirty();
  info_.differences = {"new"};
  EXPECT_THAT(reasons(), ElementsAre(StartsWith("not sent: ")))
      << "what the source does not have cannot be older than there";
}

}  // namespace
}  // namespace rsyncfs
