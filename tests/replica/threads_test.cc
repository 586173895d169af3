// SPDX-License-Identifier: GPL-3.0-or-later
// Many threads ask while others write: every answer must be of one moment, every byte of the right version.
#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/replica/replica_rig.h"

namespace rsyncfs {
namespace {

constexpr auto kDuration = std::chrono::milliseconds(1500);
constexpr auto kLongest = std::chrono::seconds(60);  // for enough of it on a busy machine
constexpr int kNames = 40;

// The bytes of a file are those that its time stands for.
std::vector<std::byte> bytes_of(const Node& node) {
  return known_bytes(static_cast<uint64_t>(node.attr.mtime_s), node.attr.size);
}

class Threads : public testing::Test {
 protected:
  void SetUp() override {
    list(0);
    begins_ = std::chrono::steady_clock::now();
  }
  bool time_left() const {
    const auto passed = std::chrono::steady_clock::now() - begins_;
    return passed < kDuration ||
           (passed < kLongest && (reads_ < enough_reads_ || checked_ < enough_checked_));
  }
  static std::string name_of(int i) { return "name" + std::to_string(100 + i); }

  // All names with the same version.
  void list(int64_t version) {
    Listing listing;
    for (int i = 0; i < kNames; ++i) listing.file(name_of(i), i % 4 == 0 ? 90000 : 2000, version);
    apply(*store_, kRootNode, listing);
  }
  void write_names() {
    for (int64_t version = 1; time_left(); ++version) list(version);
  }
  void write_contents(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (time_left()) {
      const auto node = store_->lookup(kRootNode, name_of(static_cast<int>(random() % kNames)));
      ASSERT_TRUE(node.ok());
      if (random() % 3 == 0) {
        ASSERT_TRUE(store_->drop_content(node->id).ok());
        continue;
      }
      auto writer = store_->create_content(node->id, node->attr.size);
      if (!writer) continue;  // purged in the meantime
      // The writer is for the version that the node had when it was made.
      const auto now = store_->node(node->id);
      if (!now || now->version() != node->version()) continue;
      const auto bytes = bytes_of(*node);
      ASSERT_TRUE((*writer)->write(0, std::span(bytes).subspan(0, bytes.size() / 2)).ok());
      ASSERT_TRUE((*writer)->commit_partial().ok());
      ASSERT_TRUE((*writer)->write(bytes.size() / 2, std::span(bytes).subspan(bytes.size() / 2)).ok());
      std::vector<Replica::FinishedContent> finished;
      finished.push_back({node->id, std::move(*writer), bytes.size(), "", "", node->version()});
      ASSERT_TRUE(store_->finish_contents(std::move(finished)).ok());
    }
  }
  void purge() {
    while (time_left()) {
      ASSERT_TRUE(store_->purge_orphans(3).ok());
      ASSERT_TRUE(store_->set_meta("key", "value").ok());
      std::this_thread::yield();
    }
  }
  void read_names() {
    while (time_left()) {
      // One listing shows one version: it is written in one transaction.
      std::vector<int64_t> versions;
      ASSERT_TRUE(
          store_
              ->list(kRootNode, [&versions](std::string_view,
                                            const Node& node) { versions.push_back(node.attr.mtime_s); })
              .ok());
      ASSERT_EQ(versions.size(), static_cast<size_t>(kNames));
      for (const int64_t version : versions) ASSERT_EQ(version, versions[0]);
      ++reads_;
    }
  }
  void read_contents(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::pair<Node, std::shared_ptr<const Content>>> held;
    while (time_left()) {
      const auto node = store_->lookup(kRootNode, name_of(static_cast<int>(random() % kNames)));
      ASSERT_TRUE(node.ok());
      const auto content = store_->content(node->id);
      ASSERT_TRUE(content.ok()) << content.error().message();
      if (*content != nullptr) held.emplace_back(*node, *content);
      if (held.size() < 16) continue;
      for (const auto& [of, bytes] : held) check(of, *bytes);
      held.clear();
    }
  }
  void check(const Node& node, const Content& content) {
    // A file may have been given another version in place between the two questions; then its bytes are of
    // that one.
    const auto now = store_->node(node.id);
    if (!now || now->version() != node.version()) return;
    const auto expected = bytes_of(node);
    for (const auto& range : content.extents().ranges()) {
      const auto view = content.view(range.begin, range.end - range.begin);
      ASSERT_TRUE(view.has_value());
      ASSERT_TRUE(
          std::equal(view->begin(), view->end(), expected.begin() + static_cast<int64_t>(range.begin)));
    }
    ++checked_;
  }
  void run(const std::vector<std::function<void()>>& bodies) {
    std::vector<std::thread> threads;
    threads.reserve(bodies.size());
    for (const auto& body : bodies) threads.emplace_back(body);
    for (auto& thread : threads) thread.join();
    must(store_->check());
  }

  TemporaryDirectory tmp_;
  std::unique_ptr<Replica> store_ = open_store(tmp_.path());
  std::chrono::steady_clock::time_point begins_;
  uint64_t enough_reads_ = 0;
  uint64_t enough_checked_ = 0;
  std::atomic<uint64_t> reads_ = 0;
  std::atomic<uint64_t> checked_ = 0;
};

TEST_F(Threads, ListingsAreOfOneMoment) {
  enough_reads_ = 10;
  run({[this] { write_names(); }, [this] { read_names(); }, [this] { read_names(); },
       [this] { read_names(); }, [this] { read_names(); }, [this] { read_names(); }});
  EXPECT_GE(reads_, enough_reads_);
}

TEST_F(Threads, ContentsAreNeverOfAnother) {
  enough_checked_ = 10;
  run({[this] { write_contents(1); }, [this] { write_contents(2); }, [this] { read_contents(3); },
       [this] { read_contents(4); }, [this] { read_contents(5); }});
  EXPECT_GE(checked_, enough_checked_);
}

TEST_F(Threads, AllTogether) {
  enough_reads_ = 5;
  run({[this] { write_names(); }, [this] { write_contents(1); }, [this] { purge(); },
       [this] { read_names(); }, [this] { read_contents(4); }, [this] { read_contents(5); }});
  EXPECT_GE(reads_, enough_reads_);
}

}  // namespace
}  // namespace rsyncfs
