// SPDX-License-Identifier: GPL-3.0-or-later
// What is pushed, and what becomes of it here.
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "sync/replica/pending.h"
#include "tests/replica/dirty_rig.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kHuge = 3'000'000;

class DirtyPush : public DirtyTest {
 protected:
  std::shared_ptr<PushSnapshot> take(NodeId file) { return must(store_->pending().snapshot(file)); }
  static BaseNode as_snapshot(const PushSnapshot& snapshot) {
    BaseNode now;
    now.node = snapshot.node().id;
    now.present = true;
    now.attr = snapshot.node().attr;
    return now;
  }
  Result<void> push(const std::shared_ptr<PushSnapshot>& snapshot) {
    return store_->pending().pushed(snapshot, as_snapshot(*snapshot), "xxh128", "digest", {});
  }
  static Bytes read(const PushSnapshot& snapshot) {
    Bytes out(snapshot.node().attr.size);
    must(snapshot.read(0, out));
    return out;
  }
};

TEST_F(DirtyPush, ASnapshotIsOfOneMoment) {
  const Bytes before = known_bytes(1, kHuge);
  Bytes model = before;
  const NodeId file = add_cached(model);
  must(local().write(file, 100, filled(50, 1)));
  model_write(model, 100, filled(50, 1));
  const auto snapshot = take(file);
  must(local().write(file, 0, filled(5000, 2)));
  must(local().resize(file, 10));
  EXPECT_TRUE(same_bytes(read(*snapshot), model));
  EXPECT_EQ(snapshot->node().attr.size, kHuge);
  EXPECT_EQ(snapshot->base_limit(), kHuge);
  EXPECT_EQ(snapshot->changed().ranges(), (std::vector<ExtentSet::Range>{{100, 150}}));
  EXPECT_TRUE(snapshot->complete());
  Bytes base(200);
  EXPECT_TRUE(must(snapshot->read_base(0, base)));
  EXPECT_TRUE(std::equal(base.begin(), base.end(), before.begin()));
  Bytes beyond(1);
  EXPECT_FALSE(snapshot->read(kHuge, beyond).ok());
}

TEST_F(DirtyPush, OneAtATime) {
  const NodeId file = add_cached(filled(100, 1));
  EXPECT_EQ(store_->pending().snapshot(file).error().code(), Errc::kNotFound);
  must(local().write(file, 0, filled(1, 2)));
  auto snapshot = take(file);
  EXPECT_EQ(store_->pending().snapshot(file).error().code(), Errc::kRefused);
  snapshot = nullptr;
  EXPECT_TRUE(store_->pending().snapshot(file).ok());
}

// Many small files are read, and gone again, in a few calls; the bytes are those of the snapshot.
TEST_F(DirtyPush, SmallFilesAreReadTogether) {
  constexpr size_t kFiles = 200;
  constexpr size_t kGone = 1;
  NewNode wanted;
  wanted.mode = S_IFREG | 0644;
  std::vector<NodeId> files;
  std::vector<Bytes> models;
  for (size_t i = 0; i < kFiles; ++i) {
    const Node made = must(local().create(kRootNode, "f" + std::to_string(i), wanted));
    models.push_back(filled(1000 + 20 * i, static_cast<int>(i % 250)));
    must(local().write(made.id, 0, models.back()));
    files.push_back(made.id);
  }
  // None of the small ones that are laid over nothing: it goes by itself.
  const Bytes large = filled(50'000, 7);
  const Node made = must(local().create(kRootNode, "large", wanted));
  must(local().write(made.id, 0, large));
  files.push_back(made.id);
  models.push_back(large);
  must(store_->pending().names(0, 1));  // as whoever plans a push: all is in the database then
  std::vector<std::shared_ptr<PushSnapshot>> snapshots;
  for (auto& one : store_->pending().snapshots(files)) snapshots.push_back(must(std::move(one)));
  // What is written from now on is none of theirs, and who loses a file does not take others along.
  must(local().write(files[0], 0, filled(5, 251)));
  must(local().unlink(kRootNode, "f" + std::to_string(kGone)));
  const FileBatchCounters& counters = store_->file_batch().counters();
  const uint64_t batches = counters.batches;
  const uint64_t reads = counters.reads;
  store_->pending().read_ahead(snapshots);
  EXPECT_EQ(counters.batches, batches + 1);
  EXPECT_GE(counters.reads, reads + kFiles - 1);
  for (size_t i = 0; i < snapshots.size(); ++i) {
    if (i == kGone) continue;
    EXPECT_TRUE(same_bytes(read(*snapshots[i]), models[i])) << i;
  }
  std::vector<PushedContent> pushed;
  for (size_t i = 0; i < snapshots.size(); ++i) {
    if (i == kGone) continue;
    const std::string name = i < kFiles ? "f" + std::to_string(i) : "large";
    pushed.push_back(
        {snapshots[i], as_snapshot(*snapshots[i]), "xxh128", "digest", {{kRootNode, name, files[i]}}});
  }
  snapshots.clear();
  const uint64_t removals = counters.removals;
  must(store_->pending().pushed(std::move(pushed)));
  must(store_->cache().free_contents({}, {}));  // with it what was freed before is gone
  EXPECT_GE(counters.removals, removals + kFiles - 2);
  model_write(models[0], 0, filled(5, 251));
  for (size_t i = 0; i < files.size(); ++i) {
    if (i == kGone) continue;
    EXPECT_TRUE(same_bytes(whole_file(*store_, files[i]), models[i])) << i;
  }
  reopen();
  for (size_t i = 0; i < files.size(); ++i) {
    if (i == kGone) continue;
    EXPECT_TRUE(same_bytes(whole_file(*store_, files[i]), models[i])) << i;
  }
}

TEST_F(DirtyPush, WhatIsLeftOfAFileIsAsOldAsWhatWasPushedOfIt) {
  const NodeId file = add_cached(known_bytes(1, kHuge));
  const auto since = [&] { return must(store_->pending().node(file))->since_ms; };
  const auto changed = [&] { return must(store_->pending().node(file))->changed_ms; };
  const auto write = [&](int value) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    must(local().write(file, 1000, filled(100, value)));
  };
  write(1);
  const int64_t first = since();
  write(2);
  const int64_t pushed = changed();
  ASSERT_GT(pushed, first);
  auto snapshot = take(file);
  write(3);
  EXPECT_EQ(since(), first);
  must(push(snapshot));
  EXPECT_EQ(since(), pushed);
}

TEST_F(DirtyPush, WhatWasNotPushedIsInTheNextSnapshot) {
  for (const bool more_above : {false, true}) {
    Bytes model = known_bytes(1, kHuge);
    const NodeId file = add_cached(model);
    const auto write = [&](uint64_t at, size_t size, int value) {
      must(local().write(file, at, filled(size, value)));
      model_write(model, at, filled(size, value));
    };
    write(1000, more_above ? 100 : 200'000, 1);
    take(file).reset();
    write(1050, more_above ? 200'000 : 100, 2);
    const auto snapshot = take(file);
    EXPECT_EQ(snapshot->changed().ranges(),
              (std::vector<ExtentSet::Range>{{1000, more_above ? 201'050U : 201'000U}}));
    EXPECT_TRUE(same_bytes(read(*snapshot), model));
    // Content and one layer; the layer of the file before is gone.
    EXPECT_TRUE(eventually([&] { return usage(blocks()).files == (more_above ? 3U : 2U); }));
    must(push(snapshot));
    EXPECT_TRUE(same_bytes(stored_content(*store_, file), model));
  }
}

// Also where the layer went into the content that was there, and where it became the content.
TEST_F(DirtyPush, WhatBecameTheContentHasChecksums) {
  for (const uint64_t changed : {uint64_t{100}, kHuge}) {
    const NodeId file = add_cached(known_bytes(1, kHuge));
    must(local().write(file, 0, filled(changed, 2)));
    must(push(take(file)));
    reopen();  // the housekeeper does what it has to do
    const auto content = must(store_->content(file));
    ASSERT_TRUE(content->view(0, kHuge));
    for (const auto& entry : std::filesystem::recursive_directory_iterator(blocks())) {
      if (!entry.is_regular_file()) continue;
      std::fstream bytes(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
      bytes.put('\x77');
    }
    reopen();
    EXPECT_FALSE(must(store_->content(file))->view(0, 1)) << changed;
    must(store_->settle_damage(file));
    must(store_->drop_content(file));
  }
}

TEST_F(DirtyPush, BytesBecomeTheContent) {
  struct Case {
    const char* what;
    uint64_t base;
    bool cached;
    uint64_t resize;  // first; kHuge: no
    uint64_t at;
    uint64_t length;
    bool complete;  // afterwards
  };
  for (const Case& c : {
           Case{"small from nothing", 0, false, kHuge, 0, 100, true},
           Case{"small over small", 5000, true, kHuge, 10, 100, true},
           Case{"small over what is not here", 5000, false, kHuge, 10, 100, false},
           Case{"grown out of small", 5000, true, kHuge, 4000, 200'000, true},
           Case{"large from nothing", 0, false, kHuge, 0, kHuge, true},
           Case{"large replaced", kLarge, true, 0, 0, kLarge, true},
           Case{"large replaced by small", kLarge, true, 0, 0, 10, true},
           Case{"a little of huge", kHuge, true, kHuge, 1'000'000, 100, true},
           Case{"more of huge", kHuge, true, kHuge, kHuge - 10, 100'000, true},
           Case{"less of huge", kHuge, true, kHuge - 5, 3, 1, true},
           Case{"a little of what is not here", kHuge, false, kHuge, 1'000'000, 100, false},
       }) {
    SCOPED_TRACE(c.what);
    Bytes model = known_bytes(c.base, c.base);
    const NodeId file = add_file(c.base);
    if (c.cached) store_content(*store_, file, model);
    if (c.resize != kHuge) {
      must(local().resize(file, c.resize));
      model.resize(c.resize);
    }
    const Bytes data = known_bytes(c.at + 1, c.length);
    must(local().write(file, c.at, data));
    model_write(model, c.at, data);
    must(push(take(file)));
    EXPECT_EQ(must(store_->node(file)).differences, 0U);
    EXPECT_EQ(local().dirty(file), nullptr);
    const ContentState state = must(store_->content_state(file));
    EXPECT_EQ(state.complete, c.complete);
    if (c.complete) {
      EXPECT_TRUE(same_bytes(stored_content(*store_, file), model));
    } else if (state.present_bytes != 0) {
      EXPECT_TRUE(same_bytes(read_file(*store_, file, c.at, c.length).bytes, data));
    }
    EXPECT_EQ(store_->pending().summary().bytes, 0U);
    reopen();
    must(store_->check());
    if (c.complete) {
      EXPECT_TRUE(same_bytes(stored_content(*store_, file), model));
    }
  }
}

TEST_F(DirtyPush, WhatIsMappedStays) {
  const Bytes before = known_bytes(1, kHuge);
  const NodeId file = add_cached(before);
  const auto content = must(store_->content(file));
  must(local().resize(file, kHuge - 100'000));
  must(push(take(file)));
  // The map still covers what was cut off.
  const auto view = content->view(0, kHuge);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(std::equal(view->begin(), view->end(), before.begin()));
  EXPECT_EQ(must(store_->content(file))->size(), kHuge - 100'000);
  // It is not shown by what grows there again.
  must(local().resize(file, kHuge));
  must(push(take(file)));
  Bytes model(before.begin(), before.end() - 100'000);
  model.resize(kHuge);
  EXPECT_TRUE(same_bytes(stored_content(*store_, file), model));
}

TEST_F(DirtyPush, WhatWasWrittenSinceStaysAbove) {
  for (const uint64_t size : {uint64_t{1000}, kLarge, kHuge}) {
    Bytes model = known_bytes(size, size);
    const NodeId file = add_cached(model);
    must(local().write(file, 10, filled(100, 1)));
    const auto snapshot = take(file);
    must(local().write(file, 50, filled(100, 2)));
    must(local().resize(file, size + 5000));
    must(push(snapshot));
    model_write(model, 10, filled(100, 1));
    model_write(model, 50, filled(100, 2));
    EXPECT_NE(must(store_->node(file)).differences & kBytesDiffer, 0U);
    model.resize(size + 5000);
    EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
    reopen();
    EXPECT_TRUE(same_bytes(whole_file(*store_, file), model));
    EXPECT_EQ(take(file)->changed().ranges(),
              (std::vector<ExtentSet::Range>{{50, 150}, {size, size + 5000}}));
  }
}

TEST_F(DirtyPush, AFetchOfTheOldVersionIsNotMixedIn) {
  const NodeId file = add_file(kHuge);
  const Bytes old_bytes = known_bytes(1, kHuge);
  // One that goes on with what is here, and one that makes it anew.
  auto first = must(store_->resume_content(file, kHuge));
  must(first->write(0, std::span(old_bytes).first(500'000)));
  must(first->commit_partial());
  auto second = must(store_->create_content(file, kHuge));
  must(second->write(0, old_bytes));
  must(local().write(file, 400'000, filled(200'000, 1)));
  must(push(take(file)));
  must(first->write(500'000, std::span(old_bytes).subspan(500'000, 500'000)));
  must(first->commit_partial());
  must(store_->finish_contents(finished(file, std::move(second), kHuge)));
  EXPECT_TRUE(same_bytes(read_file(*store_, file, 400'000, 200'000).bytes, filled(200'000, 1)));
  EXPECT_FALSE(must(store_->content_state(file)).complete);
}

// By a file that was moved over it here.
TEST_F(DirtyPush, WhatItReplacedAtTheSourceIsGone) {
  const NodeId older = add_cached(filled(100, 1));
  must(local().write(older, 0, filled(1, 2)));
  const auto [parent, name] = must(store_->name_of(older));
  const uint64_t before = must(store_->statistics()).nodes;
  NewNode kind;
  kind.mode = S_IFREG | 0644;
  const NodeId newer = must(local().create(kRootNode, "newer", kind)).id;
  must(local().write(newer, 0, filled(10, 3)));
  must(local().rename(kRootNode, "newer", parent, name, RenameMode::kReplace));
  must(store_->forget_orphans({older}));
  EXPECT_TRUE(store_->node(older).ok()) << "the source still has it";
  const auto snapshot = take(newer);
  must(store_->pending().pushed(snapshot, as_snapshot(*snapshot), "xxh128", "digest",
                                {{parent, name, newer}}));
  EXPECT_FALSE(store_->node(older).ok());
  EXPECT_EQ(must(store_->statistics()).nodes, before);
  EXPECT_EQ(store_->pending().summary().nodes, 0U);
  EXPECT_EQ(store_->pending().summary().names, 0U);
  EXPECT_TRUE(same_bytes(whole_file(*store_, newer), filled(10, 3)));
}

// Of many some are empty, some large, and some are changed or removed meanwhile.
TEST_F(DirtyPush, ManyAtOnce) {
  constexpr size_t kFiles = 200;  // more than one transaction takes
  NewNode kind;
  kind.mode = S_IFREG | 0644;
  std::vector<NodeId> files;
  std::vector<Bytes> contents;
  for (size_t i = 0; i < kFiles; ++i) {
    files.push_back(must(local().create(kRootNode, "f" + std::to_string(i), kind)).id);
    contents.push_back(known_bytes(files.back(), i == 17 ? 0 : i == 18 ? 200'000 : i * 301 % 60'000 + 1));
    if (!contents.back().empty()) must(local().write(files.back(), 0, contents.back()));
  }
  EXPECT_EQ(store_->pending().summary().names, kFiles);
  std::vector<PushedContent> pushed;
  auto snapshots = store_->pending().snapshots(files);
  ASSERT_EQ(snapshots.size(), kFiles);
  for (auto& snapshot : snapshots) {
    ASSERT_TRUE(snapshot.ok()) << snapshot.error().message();
    const std::string name = "f" + std::to_string(pushed.size());
    pushed.push_back({*snapshot,
                      as_snapshot(**snapshot),
                      "xxh128",
                      "digest",
                      {{kRootNode, name, (*snapshot)->node().id}}});
  }
  snapshots.clear();
  for (const auto& again : store_->pending().snapshots(files))
    EXPECT_EQ(again.error().code(), Errc::kRefused);
  must(local().write(files[30], 0, filled(1, 9)));
  must(local().unlink(kRootNode, "f31"));
  must(store_->pending().pushed(std::move(pushed)));
  must(store_->check());
  for (size_t i = 0; i < kFiles; ++i) {
    if (i == 31) continue;
    if (i == 30) contents[i].front() = filled(1, 9).front();
    EXPECT_TRUE(same_bytes(whole_file(*store_, files[i]), contents[i])) << i;
    EXPECT_EQ(must(store_->node(files[i])).differences != 0, i == 30) << i;
  }
  EXPECT_EQ(store_->pending().summary().names, 1U) << "the removed one is at the source";
}

TEST_F(DirtyPush, OnlyAttributesNeedNoLayer) {
  const NodeId file = add_cached(filled(100, 1));
  must(local().resize(file, 100));
  const auto snapshot = take(file);
  EXPECT_TRUE(snapshot->changed().ranges().empty());
  EXPECT_EQ(snapshot->base_limit(), 100U);
  EXPECT_TRUE(same_bytes(read(*snapshot), filled(100, 1)));
  must(push(snapshot));
  EXPECT_EQ(must(store_->node(file)).differences, 0U);
}

}  // namespace
}  // namespace rsyncfs
