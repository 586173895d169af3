// SPDX-License-Identifier: GPL-3.0-or-later
// The matcher against its definition: what it says, done to the old file, gives the new one.
#include "sync/rsync/block_match.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "sync/rsync/rolling_sum.h"
#include "tests/support/files.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

constexpr int32_t kSeed = 4711;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

BlockMatcher::Read reader(const std::string& data) {
  return [&data](uint64_t offset, std::span<std::byte> out) -> Result<void> {
    RSYNCFS_CHECK(offset + out.size() <= data.size());
    std::copy_n(bytes_of(data).begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  };
}

struct Patched {
  std::string data;
  uint64_t literal = 0;
  std::vector<uint32_t> copied;
};

// What a receiver makes of it.
Patched patch(const std::string& basis, const BlockSums& sums, const std::string& now,
              ChecksumKind kind = ChecksumKind::kXxh128, int32_t seed = kSeed) {
  BlockMatcher matcher(sums, kind, seed, now.size(), reader(now));
  Patched out;
  while (true) {
    const auto piece = matcher.next();
    RSYNCFS_CHECK(piece.ok());
    const std::string bytes(reinterpret_cast<const char*>(piece->bytes.data()), piece->bytes.size());
    if (piece->what == MatchedPiece::What::kEnd) return out;
    if (piece->what == MatchedPiece::What::kLiteral) {
      EXPECT_LE(bytes.size(), BlockMatcher::kMaxLiteral);
      EXPECT_FALSE(bytes.empty());
      out.literal += bytes.size();
      out.data += bytes;
      continue;
    }
    const std::string copied = basis.substr(size_t{piece->block} * sums.block_length, sums.block_length);
    EXPECT_EQ(copied, bytes);
    out.data += copied;
    out.copied.push_back(piece->block);
  }
}

Patched patch(const std::string& basis, uint32_t block_length, const std::string& now) {
  BlockSums sums = make_block_sums(bytes_of(basis), ChecksumKind::kXxh128, kSeed, block_length);
  if (!sums.empty()) sums.strong_length = 16;
  return patch(basis, sums, now);
}

TEST(BlockMatch, NothingOld) {
  const std::string now(100'000, 'x');
  const Patched out = patch("", 700, now);
  EXPECT_EQ(out.data, now);
  EXPECT_EQ(out.literal, now.size());
}

TEST(BlockMatch, NothingNew) {
  EXPECT_EQ(patch("something", 700, "").data, "");
}

TEST(BlockMatch, TheSameIsAllCopied) {
  for (const size_t size : {1u, 699u, 700u, 701u, 70'000u, 70'001u}) {
    const std::string data = support::random_bytes(size, size);
    const Patched out = patch(data, 700, data);
    EXPECT_EQ(out.data, data);
    EXPECT_EQ(out.literal, 0u) << size;
    EXPECT_TRUE(std::ranges::is_sorted(out.copied));
  }
}

// The short block at the old end is found at the new one.
TEST(BlockMatch, ShortLastBlock) {
  const std::string basis = support::random_bytes(2 * 700 + 13, 1);
  const std::string now = "new" + basis.substr(700);
  const Patched out = patch(basis, 700, now);
  EXPECT_EQ(out.data, now);
  EXPECT_EQ(out.literal, 3u);
  EXPECT_EQ(out.copied, (std::vector<uint32_t>{1, 2}));
}

// As rsync does it, the old file's short last block is found at the new end only.
TEST(BlockMatch, WhatWasAppended) {
  for (const size_t old_size : {699u, 700u, 70'000u, 70'013u}) {
    const std::string basis = support::random_bytes(old_size, 5);
    const std::string tail = support::random_bytes(300'000, 6);
    const Patched out = patch(basis, 700, basis + tail);
    EXPECT_EQ(out.data, basis + tail);
    EXPECT_EQ(out.literal, tail.size() + old_size % 700) << old_size;
    EXPECT_EQ(out.copied.size(), old_size / 700);
  }
}

TEST(BlockMatch, AppendedBlocksAreFound) {
  const std::string basis = support::random_bytes(50 * 700, 7) + std::string(700, '\0');
  const std::string now = basis + std::string(100'000, '\0') + basis;
  const Patched out = patch(basis, 700, now);
  EXPECT_EQ(out.data, now);
  EXPECT_LT(out.literal, basis.size() + 700);
  const Patched doubled = patch(basis, 700, basis + basis);
  EXPECT_EQ(doubled.data, basis + basis);
  EXPECT_EQ(doubled.literal, 0u);
  const Patched moved = patch(basis, 700, basis + "x" + basis);
  EXPECT_EQ(moved.data, basis + "x" + basis);
  EXPECT_EQ(moved.literal, 1u);
}

TEST(BlockMatch, WhatMovedIsFound) {
  const std::string basis = support::random_bytes(100 * 1000, 2);
  const std::string now = basis.substr(50'000, 30'000) + "between" + basis.substr(0, 50'000);
  const Patched out = patch(basis, 1000, now);
  EXPECT_EQ(out.data, now);
  EXPECT_EQ(out.literal, 7u);
}

// Many blocks of one kind, and a new file that has them at every place: bounded, and still right.
TEST(BlockMatch, EqualBlocks) {
  const std::string basis(700 * 5000, 'a');
  const std::string now = std::string(100'000, 'a') + "b" + std::string(100'000, 'a');
  const Patched out = patch(basis, 700, now);
  EXPECT_EQ(out.data, now);
  EXPECT_LT(out.literal, 1500u);
}

// Equal rolling sums alone are no match; a chain of them is given up.
TEST(BlockMatch, EqualRollingSumsOnly) {
  BlockSums sums{.block_length = 4, .strong_length = 16, .remainder = 0, .blocks = {}};
  const std::string window = "same";
  for (int i = 0; i < 100'000; ++i) {
    BlockSum sum{rolling_sum(bytes_of(window)), block_sum(ChecksumKind::kXxh128, kSeed, bytes_of(window))};
    sum.strong.bytes[15] ^= std::byte{1};
    sums.blocks.push_back(sum);
  }
  std::string now;
  for (int i = 0; i < 2000; ++i) now += window;
  const Patched out = patch("", sums, now);
  EXPECT_EQ(out.data, now);
  EXPECT_TRUE(out.copied.empty());
}

// Without strong sums worth the name, nothing may be taken for the same.
TEST(BlockMatch, NoStrongSums) {
  const std::string data = support::random_bytes(7000, 3);
  BlockSums sums = make_block_sums(bytes_of(data), ChecksumKind::kXxh128, kSeed, 700);
  sums.strong_length = 0;
  EXPECT_EQ(patch(data, sums, data).literal, data.size());
}

TEST(BlockMatch, ReadErrorEndsIt) {
  const BlockSums sums;
  BlockMatcher matcher(
      sums, ChecksumKind::kXxh128, kSeed, 10,
      [](uint64_t, std::span<std::byte>) -> Result<void> { return Error(Errc::kCorrupt, ""); });
  EXPECT_FALSE(matcher.next().ok());
}

TEST(BlockMatch, EveryChecksum) {
  const std::string basis = support::random_bytes(20'000, 4);
  std::string now = basis;
  now.insert(9000, "inserted");
  for (const ChecksumKind kind : {ChecksumKind::kMd4, ChecksumKind::kMd5, ChecksumKind::kSha1,
                                  ChecksumKind::kXxh64, ChecksumKind::kXxh3, ChecksumKind::kXxh128}) {
    const Patched out = patch(basis, make_block_sums(bytes_of(basis), kind, -7), now, kind, -7);
    EXPECT_EQ(out.data, now) << checksum_name(kind);
    EXPECT_LT(out.literal, 1500u) << checksum_name(kind);
  }
}

// patch(basis, delta(sums(basis), new)) == new, and what was not touched is not sent.
TEST(BlockMatch, RandomEdits) {
  std::mt19937_64 random(support::test_seed());
  for (int round = 0; round < 300; ++round) {
    const auto below = [&](uint64_t limit) { return static_cast<size_t>(random() % limit); };
    const std::string basis = support::random_bytes(below(200'000), random());
    const auto block_length = static_cast<uint32_t>(1 + below(below(2) == 0 ? 100 : 50'000));
    std::string now = basis;
    size_t edited = 0;
    const size_t edits = below(6);
    for (size_t i = 0; i < edits; ++i) {
      const size_t at = below(now.size() + 1);
      const size_t removed = below(std::min<size_t>(now.size() - at, 3000) + 1);
      const std::string inserted = support::random_bytes(below(3000), random());
      now.replace(at, removed, inserted);
      edited += inserted.size();
    }
    SCOPED_TRACE("round " + std::to_string(round) + ", blocks of " + std::to_string(block_length));
    const Patched out = patch(basis, block_length, now);
    ASSERT_EQ(out.data, now);
    // Each edit spoils at most the blocks around it, the end among them.
    EXPECT_LE(out.literal, edited + 2 * (edits + 1) * block_length);
  }
}

}  // namespace
}  // namespace rsyncfs
