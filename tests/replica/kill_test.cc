// SPDX-License-Identifier: GPL-3.0-or-later
// A process that writes all the time is killed at random points. What it leaves must open, be consistent, and
// have no wrong byte: every content is made from its node's attributes, so that a checker can make it again.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/replica/replica_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr int kRounds = 200;
constexpr auto kUsualTime = std::chrono::seconds(12);
constexpr auto kTimeLimit = std::chrono::seconds(90);  // for enough of it on a busy machine
constexpr size_t kEnoughComplete = 20;
constexpr uint64_t kLargest = 400000;

// The time is the version, and says the size.
uint64_t size_of_version(int64_t version) {
  std::mt19937_64 random(static_cast<uint64_t>(version));
  return random() % 3 == 0 ? kSlabMaxFileBytes + random() % (kLargest - kSlabMaxFileBytes) : random() % 9000;
}

std::vector<std::byte> bytes_of(const Node& node) {
  return known_bytes(static_cast<uint64_t>(node.attr.mtime_s), node.attr.size);
}

class Victim {
 public:
  Victim(const std::string& directory, uint64_t seed) : store_(open_store(directory)), random_(seed) {}

  [[noreturn]] void run() {
    for (;;) {
      switch (random_() % 8) {
        case 0:
          list_top();
          break;
        case 1:
        case 2:
          list_directory();
          break;
        case 3:
        case 4:
          fetch_small();
          break;
        case 5:
          fetch_large();
          break;
        case 6:
          drop();
          break;
        default:
          must(store_->purge_orphans(random_() % 20));
      }
    }
  }

 private:
  std::vector<Node> nodes_in(NodeId directory) {
    std::vector<Node> out;
    must(store_->list(directory, [&out](std::string_view, const Node& node) { out.push_back(node); }));
    return out;
  }
  NodeId any_directory() {
    const auto all = nodes_in(kRootNode);
    return all.empty() ? 0 : all[random_() % all.size()].id;
  }
  void list_top() {
    Listing listing;
    for (char name = 'a'; name < 'e'; ++name) {
      if (random_() % 8 != 0) listing.directory(std::string(1, name));
    }
    apply(*store_, kRootNode, listing);
  }
  void list_directory() {
    const NodeId directory = any_directory();
    if (directory == 0) return;
    Listing listing;
    HardLinkGroups groups;
    for (char name = 'a'; name < 'm'; ++name) {
      const auto version = static_cast<int64_t>(random_() % 40);
      if (random_() % 5 == 0) continue;
      // A group is of one version.
      listing.add(std::string(1, name), file_attributes(size_of_version(version), version),
                  version < 5 ? static_cast<uint32_t>(version + 1) : 0);
    }
    apply(*store_, directory, listing, random_() % 4 != 0, groups);
  }
  void fetch_small() {
    const NodeId directory = any_directory();
    if (directory == 0) return;
    std::vector<Replica::FinishedContent> batch;
    for (const Node& node : nodes_in(directory)) {
      auto writer = must(store_->create_content(node.id, node.attr.size));
      must(writer->write(0, bytes_of(node)));
      batch.push_back({node.id, std::move(writer), node.attr.size, "test", "digest", node.version()});
    }
    must(store_->finish_contents(std::move(batch)));
  }
  void fetch_large() {
    const NodeId directory = any_directory();
    if (directory == 0) return;
    for (const Node& node : nodes_in(directory)) {
      if (node.attr.size <= kSlabMaxFileBytes || random_() % 2 == 0) continue;
      const auto bytes = bytes_of(node);
      auto writer = must(store_->resume_content(node.id, bytes.size()));
      for (const auto& gap : writer->extents().missing(0, bytes.size())) {
        for (uint64_t at = gap.begin; at < gap.end;) {
          const uint64_t length = std::min<uint64_t>(gap.end - at, 1 + random_() % 50000);
          must(writer->write(at, std::span(bytes).subspan(at, length)));
          at += length;
          if (random_() % 3 == 0) must(writer->commit_partial());
        }
      }
      if (random_() % 4 == 0) continue;
      std::vector<Replica::FinishedContent> one;
      one.push_back({node.id, std::move(writer), bytes.size(), "test", "digest", node.version()});
      must(store_->finish_contents(std::move(one)));
    }
  }
  void drop() {
    const NodeId directory = any_directory();
    if (directory == 0) return;
    for (const Node& node : nodes_in(directory)) {
      if (random_() % 3 == 0) must(store_->drop_content(node.id));
    }
  }

  std::unique_ptr<Replica> store_;
  std::mt19937_64 random_;
};

struct Seen {
  size_t complete = 0;
  size_t partial = 0;
};

void check_content(Replica& store, const Node& node, Seen& seen) {
  const auto state = must(store.content_state(node.id));
  const auto content = must(store.content(node.id));
  // A content that is spoken of is there.
  ASSERT_EQ(content == nullptr, !state.complete && state.present_bytes == 0) << node.id;
  if (content == nullptr) return;
  ++(content->complete() ? seen.complete : seen.partial);
  ASSERT_EQ(content->size(), node.attr.size);
  const auto expected = bytes_of(node);
  for (const auto& range : content->extents().ranges()) {
    const auto view = content->view(range.begin, range.end - range.begin);
    ASSERT_TRUE(view.has_value());
    ASSERT_TRUE(std::equal(view->begin(), view->end(), expected.begin() + static_cast<int64_t>(range.begin)))
        << "wrong bytes in node " << node.id;
  }
}

void check_store(const std::string& directory, Seen& seen) {
  const auto store = open_store(directory);
  must(store->check());
  // Orphans too: nodes are numbered without gaps beyond those that were deleted.
  for (NodeId id = 1, missing = 0; missing < 5000; ++id) {
    const auto node = store->node(id);
    if (!node) {
      ++missing;
      continue;
    }
    missing = 0;
    if (S_ISREG(node->attr.mode)) check_content(*store, *node, seen);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(KilledAnywhere, LeavesAStoreWithoutAWrongByte) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  const TemporaryDirectory tmp;
  const auto started = std::chrono::steady_clock::now();
  Seen seen;
  int rounds = 0;
  const auto goes_on = [&] {
    const auto passed = std::chrono::steady_clock::now() - started;
    const bool enough = seen.complete > kEnoughComplete && seen.partial > 0;
    return passed < (enough ? kUsualTime : kTimeLimit) && (rounds < kRounds || !enough);
  };
  for (; goes_on(); ++rounds) {
    const uint64_t victim_seed = random();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Victim(tmp.path(), victim_seed).run();
    }
    // Mostly in the midst of work, sometimes while the store is opened.
    std::this_thread::sleep_for(std::chrono::microseconds(random() % (random() % 4 == 0 ? 10000 : 150000)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        << "the victim ended by itself: " << status;
    check_store(tmp.path(), seen);
    if (testing::Test::HasFatalFailure()) return;
  }
  std::printf("%d rounds, checked %zu complete and %zu partial contents\n", rounds, seen.complete,
              seen.partial);
  EXPECT_GT(seen.complete, kEnoughComplete);
  EXPECT_GT(seen.partial, 0U);
}

}  // namespace
}  // namespace rsyncfs
