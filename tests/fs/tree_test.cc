// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fs/tree_rig.h"
#include "tests/support/files.h"
#include "tests/support/wait.h"

namespace rsyncfs::testing {
namespace {

using ::testing::ElementsAre;

// Collects names; holds at most `room` of them.
class CollectingSink final : public DirectorySink {
 public:
  explicit CollectingSink(size_t room) : room_(room) {}
  size_t capacity() const override { return room_ - names.size(); }
  bool add(std::string_view name, const Entry& entry, uint64_t next) override {
    if (names.size() >= room_) return false;
    names.emplace_back(name);
    entries.push_back(entry);
    cookie = next;
    return true;
  }
  bool finish(Result<void> outcome) override {
    result = std::move(outcome);
    return deliver;
  }

  bool deliver = true;
  std::vector<std::string> names;
  std::vector<Entry> entries;
  uint64_t cookie = 0;
  Result<void> result = Error(Errc::kLimit, "finish() was not called");

 private:
  size_t room_;
};

// Tells when it is done.
class WaitedSink final : public DirectorySink {
 public:
  explicit WaitedSink(Done<std::vector<std::string>> done) : done_(std::move(done)) {}
  size_t capacity() const override { return 100; }
  bool add(std::string_view name, const Entry& /*entry*/, uint64_t /*next*/) override {
    names_.emplace_back(name);
    return true;
  }
  bool finish(Result<void> outcome) override {
    outcome ? done_(std::move(names_)) : done_(outcome.error());
    return true;
  }

 private:
  std::vector<std::string> names_;
  Done<std::vector<std::string>> done_;
};

class TreeTest : public ::testing::Test, public TreeRig {
 protected:
  CollectingSink list_names(NodeId directory, uint64_t cookie, size_t room, bool plus = false) {
    const auto sink = std::make_shared<CollectingSink>(room);
    EXPECT_EQ(tree->readdir(directory, cookie, plus, sink), 0U);
    return *sink;
  }
  // Also when it has to wait.
  Result<std::vector<std::string>> wait_for_names(NodeId directory, bool cancel = false) {
    return wait_for<std::vector<std::string>>([&](Done<std::vector<std::string>> done) {
      const RequestId request =
          tree->readdir(directory, 0, true, std::make_shared<WaitedSink>(std::move(done)));
      if (cancel) tree->cancel(request);
    });
  }
};

TEST_F(TreeTest, StatTellsWhatTheSourceTold) {
  Name device;
  device.name = "device";
  device.attr.mode = S_IFBLK | 0660;
  device.attr.rdev_major = 253;
  device.attr.rdev_minor = 70'000;
  Name odd = file("odd", 5'000'000'000, 06755, -5);
  odd.attr.mtime_ns = 123'456'789;
  odd.attr.uid = 12345;
  odd.attr.gid = 54321;
  const auto nodes = list(kRootNode, {device, odd, symlink("link", "a/b"), directory("dir")});

  const struct stat st = *getattr(nodes.at("odd"));
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 06755));
  EXPECT_EQ(st.st_size, 5'000'000'000);
  EXPECT_EQ(st.st_mtim.tv_sec, -5);
  EXPECT_EQ(st.st_mtim.tv_nsec, 123'456'789);
  EXPECT_EQ(st.st_ctim.tv_sec, -5);
  EXPECT_EQ(st.st_atim.tv_nsec, 123'456'789);
  EXPECT_EQ(st.st_uid, 12345U);
  EXPECT_EQ(st.st_gid, 54321U);
  EXPECT_EQ(st.st_nlink, 1U);
  EXPECT_EQ(st.st_blocks, (5'000'000'000 + 4095) / 4096 * 8);
  EXPECT_EQ(st.st_ino, replica->node(nodes.at("odd"))->ino);
  EXPECT_EQ(getattr(nodes.at("device"))->st_rdev, makedev(253, 70'000));
  EXPECT_EQ(getattr(nodes.at("dir"))->st_size, 4096);
  EXPECT_EQ(getattr(nodes.at("link"))->st_blocks, 0);
  const auto target =
      wait_for<std::string>([&](auto done) { tree->readlink(nodes.at("link"), std::move(done)); });
  EXPECT_EQ(*target, "a/b");
}

TEST_F(TreeTest, LookupFindsAndDoesNotFind) {
  const auto nodes = list(kRootNode, {file("a", 1), directory("d")});
  const Result<Entry> found = lookup(kRootNode, "a");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->node, nodes.at("a"));
  EXPECT_EQ(found->attr.st_size, 1);
  const Result<Entry> missing = lookup(kRootNode, "b");
  ASSERT_TRUE(missing.ok());
  EXPECT_EQ(missing->node, 0U);
  EXPECT_EQ(lookup(nodes.at("a"), "x").error().code(), Errc::kNotDirectory);
  EXPECT_EQ(lookup(987654, "x").error().code(), Errc::kVanished);
  EXPECT_EQ(lookup(nodes.at("d"), "..")->node, kRootNode);
  EXPECT_EQ(lookup(nodes.at("a"), ".")->node, nodes.at("a"));
}

TEST_F(TreeTest, LookupsAreCountedAndForgetDeletesOrphans) {
  const auto nodes = list(kRootNode, {file("a", 1)});
  const NodeId a = nodes.at("a");
  fill(a, "x");
  know(kRootNode, "a");
  know(kRootNode, "a");
  EXPECT_EQ(tree->lookups().count(a), 2U);
  list(kRootNode, {});
  EXPECT_TRUE(replica->node(a)->orphan);
  EXPECT_EQ(getattr(a)->st_nlink, 0U);
  tree->forget(a, 1);
  tree->drain_forgets();
  EXPECT_EQ(*read(a, 0, 10), "x");
  tree->forget(a, 1);
  tree->drain_forgets();
  EXPECT_EQ(replica->node(a).error().code(), Errc::kNotFound);
  EXPECT_EQ(getattr(a).error().code(), Errc::kVanished);
}

TEST_F(TreeTest, ForgettingWhatStillHasANameKeepsIt) {
  const auto nodes = list(kRootNode, {file("a", 1)});
  know(kRootNode, "a");
  tree->forget(nodes.at("a"), 1);
  tree->drain_forgets();
  EXPECT_TRUE(replica->node(nodes.at("a")).ok());
}

TEST_F(TreeTest, AnUnlistedDirectoryIsListedFirst) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  syncer.unlist(d);
  syncer.on_list([this](NodeId id) -> Result<void> {
    list_quietly(id, {file("inside", 3)});
    return {};
  });
  EXPECT_NE(lookup(d, "inside")->node, 0U);
  EXPECT_EQ(syncer.lists(), 1U);
  EXPECT_NE(lookup(d, "inside")->node, 0U);
  EXPECT_EQ(syncer.lists(), 1U);
}

TEST_F(TreeTest, OpendirWaitsForTheListing) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  syncer.unlist(d);
  syncer.on_list([](NodeId) -> Result<void> { return Error(Errc::kPermission, "opendir: denied"); });
  const auto refused = wait_for<void>([&](auto done) { tree->opendir(d, std::move(done)); });
  EXPECT_EQ(refused.error().code(), Errc::kPermission);
  syncer.on_list([](NodeId) -> Result<void> { return {}; });
  EXPECT_TRUE(wait_for<void>([&](auto done) { tree->opendir(d, std::move(done)); }).ok());
}

// The kernel need not ask before it lists.
TEST_F(TreeTest, ReaddirWaitsForTheListing) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  syncer.unlist(d);
  EXPECT_EQ(wait_for_names(d, true).error().code(), Errc::kCanceled);
  syncer.on_list([](NodeId) -> Result<void> { return Error(Errc::kPermission, "opendir: denied"); });
  EXPECT_EQ(wait_for_names(d).error().code(), Errc::kPermission);
  syncer.on_list([this](NodeId at) -> Result<void> {
    list(at, {file("inside", 1)});
    return {};
  });
  const auto names = wait_for_names(d);
  ASSERT_TRUE(names.ok()) << names.error().message();
  EXPECT_THAT(*names, ElementsAre(".", "..", "inside"));
}

// The link goes down while the directory is asked for: its stored names are all there is from then on.
TEST_F(TreeTest, StoredNamesServeWhenTheSourceGoesAway) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  list(d, {file("old", 3)});
  class LinkDown final : public Syncer {
   public:
    explicit LinkDown(SyncerDouble& inner) : inner_(inner) {}
    void start(Done<void> done) override { inner_.start(std::move(done)); }
    void shut_down(Task done) override { inner_.shut_down(std::move(done)); }
    bool may_answer_listing(const Node&) const override { return down_.load(); }
    RequestId list_directory(NodeId, Done<void> done) override {
      down_ = true;
      done(Error(Errc::kUnreachable, "no route"));
      return 5;
    }
    RequestId read(NodeId f, uint64_t o, uint32_t l, Done<ReadBytes> done) override {
      return inner_.read(f, o, l, std::move(done));
    }
    RequestId fetch_xattrs(NodeId n, Done<void> done) override {
      return inner_.fetch_xattrs(n, std::move(done));
    }
    RequestId hydrate(NodeId n, Done<void> done) override { return inner_.hydrate(n, std::move(done)); }
    RequestId compare(NodeId n, Done<Comparison> done) override { return inner_.compare(n, std::move(done)); }
    void cancel(RequestId r) override { inner_.cancel(r); }
    void note_use(NodeId d) override { inner_.note_use(d); }
    RequestId refresh(NodeId d, Done<void> done) override { return inner_.refresh(d, std::move(done)); }
    void note_change(NodeId n) override { inner_.note_change(n); }
    RequestId flush(std::optional<NodeId> n, Done<void> done) override {
      return inner_.flush(n, std::move(done));
    }
    void resume(Done<void> done) override { inner_.resume(std::move(done)); }
    void status(UniqueFunction<void(SyncerStatus)> done) override { inner_.status(std::move(done)); }
    const IdMap& ids() const override { return inner_.ids(); }

   private:
    SyncerDouble& inner_;
    std::atomic<bool> down_{false};
  } link_down(syncer);
  Tree offline(*replica, link_down, executor);
  const auto found = wait_for<Entry>([&](auto done) { offline.lookup(d, "old", std::move(done)); });
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_NE(found->node, 0U);
}

TEST_F(TreeTest, CancelEndsAParkedLookup) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  syncer.unlist(d);
  const auto ended = wait_for<Entry>([&](auto done) {
    const RequestId id = tree->lookup(d, "x", std::move(done));
    ASSERT_NE(id, 0U);
    tree->cancel(id);
  });
  EXPECT_EQ(ended.error().code(), Errc::kCanceled);
}

TEST_F(TreeTest, CancelDoesNotWaitForABusyExecutor) {
  const NodeId d = list(kRootNode, {directory("d")}).at("d");
  syncer.unlist(d);
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  for (unsigned i = 0; i < kExecutorThreads; ++i) executor.submit([released] { released.wait(); });
  const auto looked_up =
      wait_for<Entry>([&](auto done) { tree->cancel(tree->lookup(d, "x", std::move(done))); });
  const auto opened = wait_for<void>([&](auto done) { tree->cancel(tree->opendir(d, std::move(done))); });
  const auto listed = wait_for_names(d, true);
  release.set_value();
  EXPECT_EQ(looked_up.error().code(), Errc::kCanceled);
  EXPECT_EQ(opened.error().code(), Errc::kCanceled);
  EXPECT_EQ(listed.error().code(), Errc::kCanceled);
}

TEST_F(TreeTest, ReaddirGivesDotsThenNamesInByteOrder) {
  const auto nodes = list(kRootNode, {directory("d"), file("b", 1), file("\xff", 1), file("A", 1)});
  const CollectingSink sink = list_names(kRootNode, 0, 100, true);
  ASSERT_TRUE(sink.result.ok());
  EXPECT_THAT(sink.names, ElementsAre(".", "..", "A", "b", "d", "\xff"));
  EXPECT_EQ(sink.entries[0].node, 0U);
  EXPECT_EQ(sink.entries[1].attr.st_ino, replica->node(kRootNode)->ino);
  EXPECT_EQ(tree->lookups().count(nodes.at("b")), 1U);
  const CollectingSink plain = list_names(nodes.at("d"), 0, 100);
  EXPECT_THAT(plain.names, ElementsAre(".", ".."));
  EXPECT_EQ(plain.entries[1].attr.st_ino, replica->node(kRootNode)->ino);
  EXPECT_EQ(tree->lookups().count(nodes.at("d")), 1U);
}

TEST_F(TreeTest, NamesThatWereNotDeliveredAreNotCounted) {
  const auto nodes = list(kRootNode, {file("a", 1), file("b", 1)});
  const auto sink = std::make_shared<CollectingSink>(3);
  sink->deliver = false;
  tree->readdir(kRootNode, 0, true, sink);
  EXPECT_THAT(sink->names, ElementsAre(".", "..", "a"));
  EXPECT_EQ(tree->lookups().count(nodes.at("a")), 0U);
  EXPECT_EQ(tree->lookups().count(nodes.at("b")), 0U);
}

TEST_F(TreeTest, ReaddirGoesOnWhereItWasThoughNamesComeAndGo) {
  list(kRootNode, {file("b", 1), file("d", 1), file("f", 1), file("h", 1)});
  const CollectingSink first = list_names(kRootNode, 0, 4);
  EXPECT_THAT(first.names, ElementsAre(".", "..", "b", "d"));
  // "b" goes, "a" and "g" come: what stays is neither left out nor given twice.
  list(kRootNode, {file("a", 1), file("d", 1), file("f", 1), file("g", 1), file("h", 1)});
  const CollectingSink second = list_names(kRootNode, first.cookie, 100);
  EXPECT_THAT(second.names, ElementsAre("f", "g", "h"));
  const CollectingSink again = list_names(kRootNode, 0, 100);
  EXPECT_THAT(again.names, ElementsAre(".", "..", "a", "d", "f", "g", "h"));
  EXPECT_TRUE(list_names(kRootNode, again.cookie, 100).names.empty());
}

// Where positions had to make room, or were made up.
TEST_F(TreeTest, PositionsThatAreNotKnownCountNames) {
  list(kRootNode, {file("a", 1), file("d", 1), file("f", 1), file("g", 1)});
  EXPECT_THAT(list_names(kRootNode, 4, 100).names, ElementsAre("f", "g"));
}

// The kernel answers one reader from the listing that another was given, and asks for the rest.
TEST_F(TreeTest, PositionsHoldForEveryReaderOfTheDirectory) {
  list(kRootNode, {file("b", 1), file("d", 1), file("f", 1), file("h", 1)});
  const uint64_t after_d = list_names(kRootNode, 0, 4).cookie;
  EXPECT_EQ(list_names(kRootNode, 0, 100).names.size(), 6U);
  list(kRootNode, {file("a", 1), file("c", 1), file("e", 1), file("f", 1), file("h", 1)});
  EXPECT_EQ(list_names(kRootNode, 0, 4).names.size(), 4U);
  EXPECT_THAT(list_names(kRootNode, after_d, 100).names, ElementsAre("e", "f", "h"));
}

// The kernel goes by its own copy of a listing, and of the names in it.
TEST_F(TreeTest, OnlyOfDirectoriesWhoseNamesWereGivenUseIsAskedFor) {
  const auto nodes = list(kRootNode, {directory("listed"), directory("looked into"), directory("rests")});
  const auto tell_of_use = [this] {
    std::vector<std::string> names;
    const CollectingSink sink = list_names(kRootNode, 0, 100, true);
    for (size_t i = 0; i < sink.names.size(); ++i) {
      if (sink.entries[i].tells_of_use) names.push_back(sink.names[i]);
    }
    return names;
  };
  EXPECT_TRUE(tell_of_use().empty());
  list_names(nodes.at("listed"), 0, 100);
  EXPECT_EQ(lookup(nodes.at("looked into"), "none")->node, 0U);
  EXPECT_THAT(tell_of_use(), ElementsAre("listed", "looked into"));
}

TEST(DirectoryPositionsTest, AreKeptWithinTheLimit) {
  constexpr size_t kRoomForTwo = 1'000;
  DirectoryPositions positions(kRoomForTwo);
  const auto first = positions.of(1);
  EXPECT_TRUE(positions.keep(1, first, 200).empty());
  EXPECT_TRUE(positions.keep(2, positions.of(2), 200).empty());
  EXPECT_EQ(positions.of(1), first) << "listed last now";
  EXPECT_THAT(positions.keep(3, positions.of(3), 200), ElementsAre(2));
  EXPECT_EQ(positions.size(), 2U);
  EXPECT_THAT(positions.keep(4, positions.of(4), 100'000), ElementsAre(1, 3)) << "stays, however large";
  EXPECT_EQ(positions.size(), 1U);
  EXPECT_THAT(positions.keep(1, first, 200), ElementsAre(1)) << "had to go while it was listed";
  EXPECT_EQ(positions.size(), 1U);
  positions.forget(4);
  EXPECT_EQ(positions.size(), 0U);
  EXPECT_TRUE(positions.keep(1, positions.of(1), 500).empty()) << "there is room again";
}

TEST_F(TreeTest, ReadsComeFromTheStoreElseFromTheSource) {
  const auto nodes = list(kRootNode, {file("here", 5), file("there", 5), file("empty", 0)});
  fill(nodes.at("here"), "local");
  syncer.on_read([](NodeId) { return "away!"; });
  EXPECT_EQ(*read(nodes.at("here"), 1, 3), "oca");
  EXPECT_EQ(*read(nodes.at("here"), 3, 100), "al");
  EXPECT_EQ(*read(nodes.at("here"), 5, 100), "");
  EXPECT_EQ(syncer.reads(), 0U);
  EXPECT_EQ(*read(nodes.at("there"), 0, 100), "away!");
  EXPECT_EQ(syncer.reads(), 1U);
  EXPECT_EQ(*read(nodes.at("there"), 5, 100), "");
  EXPECT_EQ(*read(nodes.at("there"), 1ULL << 62, 100), "");
  EXPECT_EQ(*read(nodes.at("empty"), 0, 100), "");
  EXPECT_EQ(syncer.reads(), 1U);
  EXPECT_EQ(read(kRootNode, 0, 1).error().code(), Errc::kUsage);
}

// It took the place of a longer version while somebody waited, who would be shown zeros behind its end.
TEST_F(TreeTest, AShorterVersionIsNoAnswerToWhoAskedForALongerOne) {
  const NodeId f = list(kRootNode, {file("f", 5)}).at("f");
  syncer.on_read([&](NodeId) {
    list(kRootNode, {file("f", 2)});
    return "ab";
  });
  EXPECT_EQ(read(f, 0, 100).error().code(), Errc::kVanished);
  EXPECT_EQ(*read(f, 0, 100), "ab");
}

TEST_F(TreeTest, APartialFileReadsWhatIsHere) {
  constexpr uint64_t kSize = 1 << 20;
  const NodeId big = list(kRootNode, {file("big", kSize)}).at("big");
  const std::string start = support::random_bytes(256 * 1024, 7);
  fill_start(big, start, kSize);
  EXPECT_EQ(*read(big, 1000, 5000), start.substr(1000, 5000));
  EXPECT_EQ(syncer.reads(), 0U);
  EXPECT_EQ(*getxattr(big, "user.rsyncfs.state"), "partial");
  syncer.on_read([](NodeId) { return std::string(kSize, 'z'); });
  EXPECT_EQ(*read(big, kSize - 3, 100), "zzz");
  EXPECT_EQ(syncer.reads(), 1U);
}

TEST_F(TreeTest, StateFollowsTheContent) {
  const auto nodes = list(kRootNode, {file("f", 5), file("empty", 0), directory("d")});
  EXPECT_EQ(*getxattr(nodes.at("f"), "user.rsyncfs.state"), "remote");
  EXPECT_EQ(*getxattr(nodes.at("empty"), "user.rsyncfs.state"), "cached");
  EXPECT_EQ(*getxattr(nodes.at("d"), "user.rsyncfs.state"), "remote");
  EXPECT_EQ(*getxattr(kRootNode, "user.rsyncfs.state"), "cached");
  fill(nodes.at("f"), "12345");
  EXPECT_EQ(*getxattr(nodes.at("f"), "user.rsyncfs.state"), "cached");
  EXPECT_EQ(*getxattr(nodes.at("f"), "user.rsyncfs.state", 0), "6");
  EXPECT_EQ(getxattr(nodes.at("f"), "user.rsyncfs.state", 3).error().os_errno(), ERANGE);
  EXPECT_EQ(getxattr(nodes.at("f"), "user.rsyncfs.other").error().os_errno(), ENODATA);
}

TEST_F(TreeTest, ExtendedAttributes) {
  Name f = file("f", 0);
  const std::string digest(16, 'D');
  f.xattrs = {{"trusted.t", "secret", 6, false},
              {"user.empty", "", 0, false},
              {"user.long", digest, 100, true},
              {"user.rsyncfs.state", "forged", 6, false},
              {"user.short", std::string("v\0w", 3), 3, false}};
  const auto nodes = list(kRootNode, {f, file("bare", 0)});
  const NodeId id = nodes.at("f");
  EXPECT_THAT(*listxattr(id), ElementsAre("trusted.t", "user.empty", "user.long", "user.short"));
  EXPECT_THAT(*listxattr(id, false), ElementsAre("user.empty", "user.long", "user.short"));
  EXPECT_TRUE(listxattr(nodes.at("bare"))->empty());
  EXPECT_EQ(*getxattr(id, "user.short"), std::string("v\0w", 3));
  EXPECT_EQ(*getxattr(id, "user.short", 0), "3");
  EXPECT_EQ(getxattr(id, "user.short", 2).error().os_errno(), ERANGE);
  EXPECT_EQ(*getxattr(id, "user.empty"), "");
  EXPECT_EQ(*getxattr(id, "user.rsyncfs.state"), "cached");
  EXPECT_EQ(getxattr(id, "user.none").error().os_errno(), ENODATA);
  EXPECT_EQ(getxattr(nodes.at("bare"), "user.short").error().os_errno(), ENODATA);
  // The size of an abbreviated value is known; its bytes are fetched.
  EXPECT_EQ(*getxattr(id, "user.long", 0), "100");
  const std::string value(100, 'L');
  int fetches = 0;
  syncer.on_fetch_xattrs([&](NodeId) {
    ++fetches;
    return replica->store_xattr_value(digest, 100, value);
  });
  EXPECT_EQ(*getxattr(id, "user.long"), value);
  EXPECT_EQ(*getxattr(id, "user.long"), value);
  EXPECT_EQ(fetches, 1);
}

TEST_F(TreeTest, AnXattrThatTheSourceNoLongerHasIsAnError) {
  Name f = file("f", 0);
  f.xattrs = {{"user.long", std::string(16, 'D'), 100, true}};
  const NodeId id = list(kRootNode, {f}).at("f");
  syncer.on_fetch_xattrs([](NodeId) -> Result<void> { return {}; });
  EXPECT_EQ(getxattr(id, "user.long").error().code(), Errc::kChanged);
}

TEST_F(TreeTest, AnXattrLongerThanLinuxAllowsIsToldSo) {
  Name f = file("f", 0);
  f.xattrs = {{"user.largest", std::string(16, 'L'), 65'536, true},
              {"user.long", std::string(16, 'D'), 65'537, true}};
  const NodeId id = list(kRootNode, {f}).at("f");
  EXPECT_EQ(getxattr(id, "user.long").error().os_errno(), E2BIG);
  EXPECT_EQ(getxattr(id, "user.long", 0).error().os_errno(), E2BIG);
  EXPECT_EQ(*getxattr(id, "user.largest", 0), "65536");
}

TEST_F(TreeTest, HolesAreKnownWhenTheFileIsHere) {
  constexpr uint64_t kSize = 8 << 20;
  constexpr uint64_t kMark = 4 << 20;
  const NodeId f = list(kRootNode, {file("sparse", kSize)}).at("sparse");
  const auto seek = [&](uint64_t offset, SeekKind kind) {
    return wait_for<uint64_t>([&](auto done) { tree->seek(f, offset, kind, std::move(done)); });
  };
  EXPECT_EQ(*seek(5, SeekKind::kData), 5U);
  EXPECT_EQ(*seek(5, SeekKind::kHole), kSize);
  EXPECT_EQ(getattr(f)->st_blocks, static_cast<blkcnt_t>(kSize / 512));
  fill_sparse(f, kSize, "mark", kMark);
  EXPECT_EQ(*seek(0, SeekKind::kData), kMark);
  EXPECT_EQ(*seek(0, SeekKind::kHole), 0U);
  EXPECT_EQ(*seek(kMark, SeekKind::kHole), kMark + 4096);
  EXPECT_EQ(seek(kMark + 4096, SeekKind::kData).error().os_errno(), ENXIO);
  EXPECT_EQ(seek(kSize, SeekKind::kHole).error().os_errno(), ENXIO);
  EXPECT_EQ(getattr(f)->st_blocks, 8);
}

TEST_F(TreeTest, StatfsTellsTheStoresFileSystem) {
  list(kRootNode, {file("a", 1), file("b", 1)});
  struct statvfs store {};
  ASSERT_EQ(::statvfs(replica->directory().c_str(), &store), 0);
  const auto got = wait_for<struct statvfs>([&](auto done) { tree->statfs(std::move(done)); });
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->f_blocks, store.f_blocks);
  EXPECT_EQ(got->f_frsize, store.f_frsize);
  EXPECT_EQ(got->f_files - got->f_ffree, 3U);
  EXPECT_EQ(got->f_namemax, 255U);
}

}  // namespace
}  // namespace rsyncfs::testing
