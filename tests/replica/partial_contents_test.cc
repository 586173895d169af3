// SPDX-License-Identifier: GPL-3.0-or-later
// Contents that are not all here: recorded on the way, gone on with, taken back, given up.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/replica/contents_rig.h"

namespace rsyncfs {
namespace {

class PartialContents : public Contents {};

TEST_F(PartialContents, ThatArePartialSurviveAndGoOn) {
  const auto bytes = known_bytes(8, kLarge);
  const NodeId node = add_file(kLarge);
  {
    auto writer = must(store_->create_content(node, kLarge));
    must(writer->write(100, std::span(bytes).subspan(100, 200000)));
    must(writer->commit_partial());
    // Written, but never told of.
    must(writer->write(500000, std::vector<std::byte>(100000, std::byte{0xee})));
  }
  reopen();
  const auto partial = must(store_->content(node));
  ASSERT_NE(partial, nullptr);
  EXPECT_FALSE(partial->complete());
  EXPECT_EQ(partial->size(), kLarge);
  EXPECT_EQ(partial->extents().ranges(), (std::vector<ExtentSet::Range>{{100, 200100}}));
  EXPECT_FALSE(partial->view(0, 200).has_value());
  EXPECT_FALSE(partial->view(200000, 101).has_value());
  const auto view = partial->view(100, 200000);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(std::equal(view->begin(), view->end(), bytes.begin() + 100));
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, 200000U);
  EXPECT_EQ(must(store_->statistics()).partial_files, 1U);

  // A fresh writer with less does not take its place.
  auto fresh = must(store_->create_content(node, kLarge));
  EXPECT_TRUE(fresh->extents().ranges().empty());
  must(fresh->write(0, std::span(bytes).subspan(0, 1000)));
  must(fresh->commit_partial());
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, 200000U);
  fresh.reset();

  auto writer = must(store_->resume_content(node, kLarge));
  EXPECT_EQ(writer->extents(), partial->extents());
  std::vector<std::byte> back(200000);
  must(writer->read(100, back));
  EXPECT_TRUE(std::equal(back.begin(), back.end(), bytes.begin() + 100));
  // One file has one writer.
  EXPECT_TRUE(must(store_->resume_content(node, kLarge))->extents().ranges().empty());
  must(writer->write(0, std::span(bytes).subspan(0, 100)));
  must(writer->write(200100, std::span(bytes).subspan(200100)));
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
  // Who held the old one still sees what it had.
  EXPECT_EQ(partial->extents().bytes(), 200000U);
  EXPECT_EQ(must(store_->statistics()).partial_files, 0U);
  EXPECT_EQ(usage(blocks()).files, 1U);
}

TEST_F(PartialContents, GrowWithEveryCommit) {
  const auto bytes = known_bytes(8, kLarge);
  const NodeId node = add_file(kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->commit_partial());
  EXPECT_EQ(must(store_->content(node)), nullptr);
  for (uint64_t at = 0; at < kLarge; at += 100000) {
    const uint64_t end = std::min(at + 100000, kLarge);
    must(writer->write(at, std::span(bytes).subspan(at, end - at)));
    must(writer->commit_partial());
    const auto content = must(store_->content(node));
    ASSERT_NE(content, nullptr);
    EXPECT_TRUE(content->view(0, end).has_value());
    if (end < kLarge) {
      EXPECT_FALSE(content->view(0, end + 1).has_value());
    }
  }
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
}

TEST_F(PartialContents, TakeBackWhatWasWrong) {
  const auto bytes = known_bytes(8, kLarge);
  const NodeId node = add_file(kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->write(0, std::vector<std::byte>(300000, std::byte{0xee})));
  must(writer->commit_partial());
  must(writer->discard(0, 300000));
  must(writer->commit_partial());
  EXPECT_EQ(must(store_->content_state(node)).present_bytes, 0U);
  EXPECT_FALSE(must(store_->content(node))->view(0, 1).has_value());
  must(writer->write(0, bytes));
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);

  const NodeId small = add_file(100);
  writer = must(store_->create_content(small, 100));
  must(writer->write(0, known_bytes(1, 100)));
  must(writer->discard(10, 20));
  EXPECT_FALSE(writer->extents().covers(0, 100));
  EXPECT_FALSE(store_->finish_contents(finished(small, std::move(writer), 100)).ok());
}

TEST_F(PartialContents, OfAnotherVersionAreNotResumed) {
  const NodeId node = add_file(kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->write(0, known_bytes(1, 100000)));
  must(writer->commit_partial());
  writer.reset();
  EXPECT_TRUE(must(store_->resume_content(node, kLarge + 1))->extents().ranges().empty());
  EXPECT_EQ(must(store_->resume_content(node, kLarge))->extents().bytes(), 100000U);
  EXPECT_EQ(store_->resume_content(999, 5).error().code(), Errc::kNotFound);
  EXPECT_EQ(store_->create_content(999, 5).error().code(), Errc::kNotFound);
}

TEST_F(PartialContents, DroppedWhileBeingWrittenAreStoredAllTheSame) {
  const NodeId node = add_file(kLarge);
  const auto bytes = known_bytes(1, kLarge);
  auto writer = must(store_->create_content(node, kLarge));
  must(writer->write(0, std::span(bytes).subspan(0, 500000)));
  must(writer->commit_partial());
  must(store_->drop_content(node));
  must(writer->write(500000, std::span(bytes).subspan(500000)));
  must(store_->finish_contents(finished(node, std::move(writer), kLarge)));
  EXPECT_EQ(stored_content(*store_, node), bytes);
  // And one that is dropped and then given up leaves nothing.
  const NodeId other = add_file(kLarge);
  writer = must(store_->create_content(other, kLarge));
  must(writer->write(0, known_bytes(1, 500000)));
  must(writer->commit_partial());
  must(store_->drop_content(other));
  writer.reset();
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 1; }));
}

TEST_F(PartialContents, UnfinishedFilesOfAKilledProcessGo) {
  const NodeId node = add_file(kLarge);
  store_.reset();
  const pid_t child = fork();
  if (child == 0) {
    auto mine = open_store(tmp_.path());
    auto writer = must(mine->create_content(node, kLarge));
    must(writer->write(0, known_bytes(1, kLarge)));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(usage(blocks()).files, 1U);
  store_ = open_store(tmp_.path());
  EXPECT_TRUE(eventually([&] { return usage(blocks()).files == 0; }));
  EXPECT_EQ(must(store_->content(node)), nullptr);
}

TEST_F(PartialContents, ThatAreNotWholeAreNotFinished) {
  for (const uint64_t size : {uint64_t{100}, kLarge}) {
    const NodeId node = add_file(size);
    auto writer = must(store_->create_content(node, size));
    must(writer->write(0, known_bytes(1, 10)));
    must(writer->write(20, known_bytes(1, size - 20)));
    std::vector<std::byte> out(20);
    EXPECT_EQ(writer->read(0, out).error().code(), Errc::kUsage);
    EXPECT_EQ(store_->finish_contents(finished(node, std::move(writer), size)).error().code(), Errc::kUsage);
    EXPECT_EQ(must(store_->content(node)), nullptr);
    writer = must(store_->create_content(node, size));
    must(writer->write(0, known_bytes(1, size)));
    EXPECT_EQ(store_->finish_contents(finished(node, std::move(writer), size - 1)).error().code(),
              Errc::kUsage);
  }
  EXPECT_EQ(usage(blocks()).files, 0U);
}

}  // namespace
}  // namespace rsyncfs
