// SPDX-License-Identifier: GPL-3.0-or-later
// Whether the source has the bytes that are here is found out without fetching them.
#include "sync/engine/source_comparison.h"

#include <unistd.h>

#include <future>
#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "tests/engine/engine_rig.h"
#include "tests/support/files.h"
#include "tests/support/rsync_daemon.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs {
namespace {

using support::RsyncDaemon;
using support::TempDir;
using support::write_file;

constexpr uint64_t kMiB = 1 << 20;
constexpr std::chrono::seconds kAnswerLimit{60};

class SourceComparisonTest : public ::testing::Test {
 protected:
  using Answer = std::future<Result<Comparison>>;

  std::string served(const std::string& name) const { return tree_ / name; }
  // Always with the same time.
  void put(const std::string& name, const std::string& contents) {
    write_file(served(name), contents);
    support::set_mtime(served(name), 1'000'000, 0);
    contents_[name] = contents;
  }
  void put_other_byte(const std::string& name, uint64_t offset) {
    std::string contents = contents_[name];
    contents[offset] = static_cast<char>(contents[offset] ^ 1);
    put(name, contents);
  }
  void serve_and_fetch() {
    server_ = std::make_unique<RsyncDaemon>(RsyncDaemon::serving(tree_.path()));
    rig_ = std::make_unique<EngineRig>(server_->url(), store_ / "s", options_);
    ASSERT_TRUE(rig_->start().ok());
    ASSERT_TRUE(rig_->wait_for_tree());
    for (const auto& [name, contents] : contents_) {
      const auto node = rig_->find(name);
      ASSERT_TRUE(node.ok()) << name;
      nodes_[name] = node->id;
      const auto fetched = rig_->hydrate(node->id);
      ASSERT_TRUE(fetched.ok()) << name << ": " << fetched.error().message();
    }
  }
  Answer ask(const std::string& name, RequestId* id = nullptr) {
    const auto promise = std::make_shared<std::promise<Result<Comparison>>>();
    const RequestId request = rig_->syncer().compare(
        nodes_[name], [promise](Result<Comparison> result) { promise->set_value(std::move(result)); });
    if (id != nullptr) *id = request;
    return promise->get_future();
  }
  static Result<Comparison> wait(Answer answer) {
    if (answer.wait_for(kAnswerLimit) != std::future_status::ready)
      return Error(Errc::kTimedOut, "no answer at all");
    return answer.get();
  }
  void expect(const std::string& name, Comparison expected) {
    const auto result = wait(ask(name));
    ASSERT_TRUE(result.ok()) << name << ": " << result.error().message();
    EXPECT_EQ(*result, expected) << name;
  }
  uint64_t traffic() {
    const auto status = rig_->status();
    return status.bytes_in + status.bytes_out;
  }

  TempDir tree_;
  TempDir store_;
  SyncerOptions options_;
  std::map<std::string, std::string> contents_;
  std::map<std::string, NodeId> nodes_;
  std::unique_ptr<RsyncDaemon> server_;
  std::unique_ptr<EngineRig> rig_;
};

struct Agreement {
  int protocol;
  const char* checksum;
  const char* compress;
};
class ComparisonByProtocol : public SourceComparisonTest, public ::testing::WithParamInterface<Agreement> {};

TEST_P(ComparisonByProtocol, EqualFilesAreEqualAndOthersAreNot) {
  options_.max_protocol = GetParam().protocol;
  options_.checksum = GetParam().checksum;
  options_.compress = GetParam().compress;
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{700}, uint64_t{131'071}, uint64_t{131'072},
                              uint64_t{131'073}, kMiB, kMiB + 1, 5 * kMiB + 3})
    put("random" + std::to_string(size), support::random_bytes(size, size));
  // Any block is found anywhere.
  put("zeros", std::string(3 * kMiB + 77, '\0'));
  serve_and_fetch();
  for (const auto& [name, contents] : contents_) expect(name, Comparison::kEqual);
  for (const auto& [name, node] : nodes_) {
    if (contents_[name].empty()) continue;
    for (const uint64_t offset : {uint64_t{0}, contents_[name].size() / 2, contents_[name].size() - 1}) {
      const std::string before = contents_[name];
      put_other_byte(name, offset);
      expect(name, Comparison::kDiffers);
      put(name, before);
    }
    expect(name, Comparison::kEqual);
  }
}

INSTANTIATE_TEST_SUITE_P(Protocol, ComparisonByProtocol,
                         ::testing::Values(Agreement{30, "", "none"}, Agreement{31, "", "none"},
                                           Agreement{32, "", "none"}, Agreement{32, "md5", "zstd"},
                                           Agreement{32, "xxh64", "zlibx"}));

// For 200 MiB 1600 blocks: 6 bytes up for each, and tokens in runs.
TEST_F(SourceComparisonTest, ALargeEqualFileCostsSomeBytesForEachBlock) {
  put("big", support::random_bytes(200 * kMiB, 1));
  serve_and_fetch();
  const uint64_t before = traffic();
  expect("big", Comparison::kEqual);
  const uint64_t cost = traffic() - before;
  EXPECT_LT(cost, 1'600 * 6 + 2'000U);
  EXPECT_GT(cost, 1'600 * 6U) << "the sums went out";
}

TEST_F(SourceComparisonTest, ADifferenceEndsTheTransfer) {
  put("big", support::random_bytes(100 * kMiB, 1));
  serve_and_fetch();
  // All that follows is found nowhere.
  std::string other = contents_["big"];
  other.replace(10 * kMiB, 90 * kMiB, support::random_bytes(90 * kMiB, 2));
  put("big", other);
  const uint64_t before = traffic();
  expect("big", Comparison::kDiffers);
  EXPECT_LT(traffic() - before, 16 * kMiB);
}

TEST_F(SourceComparisonTest, ManySmallFilesShareTheSessionThatListsThem) {
  constexpr int kFiles = 600;
  uint64_t bytes = 0;
  for (int i = 0; i < kFiles; ++i) {
    const std::string contents = support::random_bytes(i * 7 % 9'000, i);
    bytes += contents.size();
    put("f" + std::to_string(i), contents);
  }
  put("other", "0123");
  serve_and_fetch();
  put("other", "0124");
  const int connections = server_->connections();
  const uint64_t before = traffic();
  std::vector<Answer> answers;
  for (const auto& [name, contents] : contents_) {
    if (name != "other") answers.push_back(ask(name));
  }
  for (Answer& answer : answers) {
    const auto result = wait(std::move(answer));
    ASSERT_TRUE(result.ok()) << result.error().message();
    ASSERT_EQ(*result, Comparison::kEqual);
  }
  EXPECT_EQ(server_->connections(), connections);
  const uint64_t cost = traffic() - before;
  EXPECT_LT(cost, kFiles * 100U) << bytes << " bytes are compared";
  expect("other", Comparison::kDiffers);
}

// Each in a directory of its own, which is listed again when something in it is found to have changed.
TEST_F(SourceComparisonTest, WhatChangedMeanwhileIsNoDifference) {
  for (const uint64_t size : {uint64_t{5'000}, 2 * kMiB}) {
    for (const char* what : {"later", "longer", "gone", "same"}) {
      const std::string directory = what + std::to_string(size);
      support::make_dirs(served(directory));
      put(directory + "/f", support::random_bytes(size, size));
    }
  }
  serve_and_fetch();
  for (const uint64_t size : {uint64_t{5'000}, 2 * kMiB}) {
    const std::string f = std::to_string(size) + "/f";
    write_file(served("later" + f), support::random_bytes(size, 9));
    support::set_mtime(served("later" + f), 1'000'001, 0);
    write_file(served("longer" + f), support::random_bytes(size + 10, size));
    ASSERT_EQ(unlink(served("gone" + f).c_str()), 0);
    expect("later" + f, Comparison::kChanged);
    expect("longer" + f, Comparison::kChanged);
    expect("gone" + f, Comparison::kGone);
    const auto directory = rig_->find("gone" + std::to_string(size));
    ASSERT_TRUE(directory.ok() && rig_->list(directory->id).ok());
    expect("gone" + f, Comparison::kChanged);  // no name leads to it any more
    expect("same" + f, Comparison::kEqual);
  }
}

TEST_F(SourceComparisonTest, WhatIsNotAllHereOrChangedHereIsRefused) {
  put("not-here", "abc");
  put("mine", "abc");
  serve_and_fetch();
  ASSERT_TRUE(rig_->replica().drop_content(nodes_["not-here"]).ok());
  EXPECT_EQ(wait(ask("not-here")).error().code(), Errc::kNotFound);
  const std::string more = "x";
  ASSERT_TRUE(rig_->replica().local().write(nodes_["mine"], 0, std::as_bytes(std::span(more))).ok());
  EXPECT_EQ(wait(ask("mine")).error().code(), Errc::kRefused);
}

TEST_F(SourceComparisonTest, WithoutChecksumsThereIsNoAnswer) {
  options_.checksum = "none";
  put("small", "abc");
  put("big", support::random_bytes(2 * kMiB, 1));
  serve_and_fetch();
  EXPECT_EQ(wait(ask("small")).error().code(), Errc::kUnsupported);
  EXPECT_EQ(wait(ask("big")).error().code(), Errc::kUnsupported);
}

TEST_F(SourceComparisonTest, LostConnectionsAreMadeAgain) {
  put("big", support::random_bytes(300 * kMiB, 1));
  for (int i = 0; i < 300; ++i) put("f" + std::to_string(i), support::random_bytes(100'000, i));
  serve_and_fetch();
  std::vector<Answer> answers;
  for (const auto& [name, contents] : contents_) answers.push_back(ask(name));
  server_->drop_connections();
  for (Answer& answer : answers) {
    const auto result = wait(std::move(answer));
    ASSERT_TRUE(result.ok()) << result.error().message();
    ASSERT_EQ(*result, Comparison::kEqual);
  }
}

TEST_F(SourceComparisonTest, ASourceThatGoesAwayIsToldAndHurtsNothing) {
  options_.timeout = std::chrono::seconds(2);
  options_.connect_timeout = std::chrono::seconds(1);
  put("big", support::random_bytes(300 * kMiB, 1));
  put("small", "abc");
  serve_and_fetch();
  Answer big = ask("big");
  server_->kill9();  // before all is compared
  Answer small = ask("small");
  for (Answer* answer : {&big, &small}) {
    const auto result = wait(std::move(*answer));
    ASSERT_FALSE(result.ok());
    EXPECT_TRUE(result.error().code() == Errc::kUnreachable || result.error().code() == Errc::kTimedOut ||
                result.error().code() == Errc::kDisconnected)
        << result.error().message();
  }
  EXPECT_TRUE(rig_->replica().content_state(nodes_["big"])->complete);
  server_->start();
  expect("small", Comparison::kEqual);
  expect("big", Comparison::kEqual);
}

TEST_F(SourceComparisonTest, OneThatIsNotWantedAnyMoreHoldsNobodyUp) {
  put("big", support::random_bytes(300 * kMiB, 1));
  put("other", support::random_bytes(2 * kMiB, 2));
  serve_and_fetch();
  RequestId id = 0;
  Answer big = ask("big", &id);
  Answer other = ask("other");
  rig_->syncer().cancel(id);
  EXPECT_EQ(wait(std::move(big)).error().code(), Errc::kCanceled);
  const auto result = wait(std::move(other));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result, Comparison::kEqual);
  expect("big", Comparison::kEqual);
}

// The sums as rsync's get_checksum1() is defined: s1 is the sum of all bytes, s2 that of all s1 on the way.
TEST_F(SourceComparisonTest, SumsAreOfTheLongestBlocks) {
  put("f", std::string(2 * kMaxBlockLength + 5, 'a'));
  put("empty", "");
  serve_and_fetch();
  ComparisonSums sums(*rig_->replica().content(nodes_["f"]), ChecksumKind::kXxh128, 7);
  EXPECT_TRUE(sums.compute(1));
  while (sums.compute(1)) continue;
  ASSERT_EQ(sums.sums().blocks.size(), 3U);
  EXPECT_EQ(sums.sums().block_length, 131'072U);
  EXPECT_EQ(sums.sums().strong_length, 2U);
  EXPECT_EQ(sums.sums().remainder, 5U);
  EXPECT_EQ(sums.sums().blocks[0].rolling, 0U);  // 97 * 2^17, and 97 * 2^16 * (2^17 + 1), both modulo 2^16
  EXPECT_EQ(sums.sums().blocks[2].rolling, 0x05af01e5U);  // 97 * 5, and 97 * (1 + 2 + 3 + 4 + 5)
  ComparisonSums nothing(*rig_->replica().content(nodes_["empty"]), ChecksumKind::kXxh128, 7);
  EXPECT_FALSE(nothing.compute(1));
  EXPECT_TRUE(nothing.sums().empty());
  EXPECT_EQ(nothing.digest().hex(),
            "7f498d4624c30160d8984701d306aa99");  // XXH3-128 of nothing, by its test vectors
}

}  // namespace
}  // namespace rsyncfs
