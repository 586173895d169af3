// SPDX-License-Identifier: GPL-3.0-or-later
// The power fails while files are changed and pushed. What sync() was asked for must be there; of what came
// later any part may be, but no byte that nobody wrote.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <tuple>

#include "sync/replica/database.h"
#include "sync/replica/pending.h"
#include "sync/replica/schema.h"
#include "tests/replica/dirty_rig.h"
#include "tests/replica/power_cut_disk.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr int kOperations = 300;
constexpr int kOperationsPerCut = 15;

using Version = std::tuple<uint64_t, int64_t, uint32_t>;
Version version_of(const NodeAttributes& attr) {
  return {attr.size, attr.mtime_s, attr.mtime_ns};
}

struct File {
  NodeId node = 0;
  Bytes local;
  Bytes source;
  std::map<Version, Bytes> versions;  // that the source had
  std::vector<Bytes> history;         // since the last sync, that moment included
  std::shared_ptr<PushSnapshot> snapshot;
  Bytes frozen;
};

// The disk sees system calls of this program, and nothing of what a ring does.
const bool syncs_are_seen = [] {
  use_io(IoChoice::kThreads);
  return true;
}();

class PowerCut : public DirtyTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(syncs_are_seen);
    random_.seed(support::test_seed());
    watch_disk(tmp_.path());
    for (const uint64_t size : {0, 3000, 150'000, 1'500'000, 1'600'000}) {
      File file;
      file.source = file.local = known_bytes(size + 1, size);
      file.node = add_file(size);
      if (size > 1'000'000) store_content(*store_, file.node, file.source);
      file.versions[version_of(must(store_->node(file.node)).attr)] = file.source;
      file.history.push_back(file.local);
      files_.push_back(std::move(file));
    }
    must(local().sync_all());
  }
  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }

  void changed(File& file) { file.history.push_back(file.local); }
  void write(File& file) {
    const uint64_t at = below(3) == 0 ? file.local.size() : below(file.local.size() + 3000);
    const Bytes data = known_bytes(random_(), 1 + below(below(3) == 0 ? 100'000 : 9000));
    must(local().write(file.node, at, data));
    model_write(file.local, at, data);
    changed(file);
  }
  void resize(File& file) {
    const uint64_t size =
        below(4) == 0 ? 0 : file.local.size() - below(file.local.size() / 4) + below(20'000);
    must(local().resize(file.node, size));
    file.local.resize(size);
    changed(file);
  }
  void punch(File& file) {
    const uint64_t at = below(file.local.size());
    const uint64_t length = 1 + below(30'000);
    must(local().allocate(file.node, AllocateMode::kPunchHole, at, length));
    model_zero(file.local, at, at + length);
    changed(file);
  }
  void sync(File& file) {
    if (below(4) == 0) {
      must(local().sync_all());
      for (File& each : files_) each.history.assign(1, each.local);
    } else {
      must(local().sync(file.node));
      file.history.assign(1, file.local);
    }
  }
  void take(File& file) {
    auto taken = store_->pending().snapshot(file.node);
    if (!taken) return;
    file.snapshot = *taken;
    file.frozen = file.local;
  }
  void acknowledge(File& file) {
    BaseNode now;
    now.node = file.node;
    now.present = true;
    now.attr = file.snapshot->node().attr;
    file.versions[version_of(now.attr)] = file.source = file.frozen;
    must(store_->pending().pushed(file.snapshot, now, "test", "digest", {}));
    file.snapshot = nullptr;
  }
  void push(File& file) {
    if (file.snapshot == nullptr) return take(file);
    if (below(5) != 0) return acknowledge(file);
    file.snapshot = nullptr;
  }
  void fetch(File& file) {
    const uint64_t size = file.source.size();
    const uint64_t begin = below(size);
    auto writer = store_->resume_content(file.node, size);
    if (!writer) return;
    for (const auto& gap : (*writer)->extents().missing(begin, begin + below(size - begin + 1)))
      must((*writer)->write(gap.begin, std::span(file.source).subspan(gap.begin, gap.end - gap.begin)));
    must((*writer)->commit_partial());
  }
  void step() {
    File& file = files_[below(files_.size())];
    switch (random_() % 10) {
      case 0:
        return resize(file);
      case 1:
        return punch(file);
      case 2:
        return sync(file);
      case 3:
      case 4:
        return push(file);
      case 5:
        return fetch(file);
      default:
        return write(file);
    }
  }

  // What is here of the base is of one version.
  static void check_content(Replica& store, NodeId node, const Bytes& version) {
    const auto content = must(store.content(node));
    if (content == nullptr) return;
    EXPECT_EQ(content->size(), version.size());
    for (const auto& range : content->extents().ranges()) {
      const auto view = content->view(range.begin, range.end - range.begin);
      ASSERT_TRUE(view.has_value());
      ASSERT_TRUE(same_range(*view, range_of(version, range.begin, range.end)))
          << "node " << node << " has other bytes than the source's version";
    }
  }
  static Bytes read_with_source(Replica& store, const File& file) {
    const Node node = must(store.node(file.node));
    const auto dirty = store.local().dirty(file.node);
    NodeAttributes base = node.attr;
    if (node.differences != 0) base = must(store.pending().snapshot(file.node))->base().attr;
    const auto version = file.versions.find(version_of(base));
    if (version == file.versions.end()) {
      ADD_FAILURE() << "the base of node " << file.node << " is no version that the source ever had";
      return {};
    }
    check_content(store, file.node, version->second);
    const BaseBytes fresh{0, version->second};
    ReadOut out = read_file(store, file.node, 0, node.attr.size, &fresh);
    if (dirty == nullptr && !out.missing.empty()) return version->second;
    EXPECT_TRUE(out.missing.empty());
    return out.bytes;
  }
  static void check(const Bytes& got, const File& file) {
    const auto by_size = [](const Bytes& a, const Bytes& b) { return a.size() < b.size(); };
    const auto [least, most] = std::minmax_element(file.history.begin(), file.history.end(), by_size);
    ASSERT_TRUE(got.size() >= least->size() && got.size() <= most->size())
        << "node " << file.node << ": size " << got.size() << " of " << least->size() << ".." << most->size();
    std::vector<const Bytes*> states;
    for (const Bytes& state : file.history) states.push_back(&state);
    const auto odd = byte_of_no_state(got, states);
    ASSERT_FALSE(odd) << "node " << file.node << ": byte " << *odd << " of " << got.size() << " in one of "
                      << file.history.size() << " states";
  }
  void cut() {
    const TemporaryDirectory after;
    cut_power(after.path(), random_);
    {
      const auto db = must(Connection::open(after.path() + "/store.db", Connection::Mode::kWrite, 1 << 20));
      must(write_setting(*db, "boot", "another"));
    }
    const auto store = open_store(after.path());
    must(store->check());
    for (const File& file : files_) {
      if (must(store->node(file.node)).attr.size != file.local.size()) ++shortened_;
      check(read_with_source(*store, file), file);
      if (HasFailure()) return;
    }
  }

  std::mt19937_64 random_;
  std::vector<File> files_;
  int shortened_ = 0;
};

TEST_F(PowerCut, KeepsWhatWasSyncedAndInventsNothing) {
  for (int i = 1; i <= kOperations; ++i) {
    step();
    if (i % kOperationsPerCut == 0) cut();
    ASSERT_FALSE(HasFailure()) << "operation " << i;
  }
  // Otherwise nothing was ever lost.
  EXPECT_GT(shortened_, 0);
}

// What was pushed is written into what the store has of the file: the disk may forget any part of that.
TEST_F(PowerCut, WhatIsWrittenIntoAContentIsOfOneVersion) {
  File& file = files_.back();
  ASSERT_GT(file.local.size(), 1U << 20);
  for (int i = 0; i < 6; ++i) {
    must(local().sync_all());
    for (File& each : files_) each.history.assign(1, each.local);
    for (int j = 0; j < 5; ++j) {
      const uint64_t at = below(file.local.size() - 9000);
      const Bytes data = known_bytes(random_(), 9000);
      must(local().write(file.node, at, data));
      model_write(file.local, at, data);
      changed(file);
      if (i % 3 == 0 && j == 2) sync(file);
    }
    take(file);
    ASSERT_NE(file.snapshot, nullptr);
    after_each_sync([this] { cut(); });
    acknowledge(file);
    after_each_sync(nullptr);
    for (int j = 0; j < 2; ++j) cut();
    ASSERT_FALSE(HasFailure()) << "round " << i;
  }
}

// More files than are synced at once. Halfway, what is recorded is there or is fetched again; afterwards all
// is there, by its name, too.
TEST_F(PowerCut, WhatIsFetchedIsThereOnceItsEpochIsSynced) {
  constexpr int kFetched = 80;
  std::map<NodeId, Bytes> fetched;
  for (int i = 0; i < kFetched; ++i) {
    const Bytes bytes = known_bytes(1000 + static_cast<uint64_t>(i), 70'000 + static_cast<uint64_t>(i));
    const NodeId node = add_file(bytes.size());
    store_content(*store_, node, bytes);
    fetched[node] = bytes;
  }
  const auto kept = [&] {
    const TemporaryDirectory after;
    cut_power(after.path(), random_);
    {
      const auto db = must(Connection::open(after.path() + "/store.db", Connection::Mode::kWrite, 1 << 20));
      must(write_setting(*db, "boot", "another"));
    }
    const auto store = open_store(after.path());
    must(store->check());
    int complete = 0;
    for (const auto& [node, bytes] : fetched) {
      const auto content = must(store->content(node));
      if (content == nullptr) continue;
      EXPECT_EQ(stored_content(*store, node), bytes) << "node " << node;
      ++complete;
    }
    return complete;
  };
  std::atomic<int> syncs{0};
  after_each_sync([&] {
    if (++syncs % 40 != 0) return;
    EXPECT_LT(kept(), kFetched) << "after " << syncs << " syncs";
  });
  must(local().sync_all());
  after_each_sync(nullptr);
  EXPECT_GT(syncs, kFetched);
  EXPECT_EQ(kept(), kFetched);
}

// Whoever asks is told, once, that bytes may not have reached the disk; what the kernel has of them is
// written again.
TEST_F(PowerCut, AFailedSyncIsToldAndMadeUpFor) {
  File& file = files_[2];
  write(file);
  fail_syncs(EIO);
  EXPECT_EQ(local().sync(file.node).error().os_errno(), EIO);
  EXPECT_EQ(local().sync_all().error().os_errno(), EIO);
  fail_syncs(0);
  cut();
  write(file);
  EXPECT_EQ(local().sync(file.node).error().os_errno(), EIO);
  must(local().sync(file.node));
  file.history.assign(1, file.local);
  for (int i = 0; i < 5; ++i) cut();
  must(local().sync_all());
  cut();
}

}  // namespace
}  // namespace rsyncfs
