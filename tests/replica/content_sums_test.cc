// SPDX-License-Identifier: GPL-3.0-or-later
// Sums of blocks: their stored form, what becomes of them when a content changes, and how they come of what
// is written.
#include "sync/replica/content_sums.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/running_sums.h"
#include "tests/replica/replica_rig.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

ContentSums sums_of(const std::vector<std::byte>& bytes) {
  ContentSums out(bytes.size());
  for (size_t block = 0; block < out.blocks(); ++block) {
    const auto range = out.range_of(block);
    out.set(block, content_sum(std::span(bytes).subspan(range.begin, range.end - range.begin)));
  }
  return out;
}

TEST(ContentSums, HaveBlocksThatFollowFromTheSize) {
  EXPECT_EQ(ContentSums(0).blocks(), 0U);
  EXPECT_EQ(ContentSums(1).blocks(), 1U);
  EXPECT_EQ(ContentSums(kSumBlockBytes).blocks(), 1U);
  EXPECT_EQ(ContentSums(kSumBlockBytes + 1).blocks(), 2U);
  EXPECT_EQ(ContentSums(kSumBlockBytes + 1).range_of(1),
            (ExtentSet::Range{kSumBlockBytes, kSumBlockBytes + 1}));
  EXPECT_EQ(ContentSums(kLongSumsFromBytes).block_bytes(), kSumBlockBytes);
  EXPECT_EQ(ContentSums(kLongSumsFromBytes + 1).blocks(), kLongSumsFromBytes / kLongSumBlockBytes + 1);
  ContentSums too_large(kMaxSummedBytes + 1);
  too_large.set(0, 5);
  EXPECT_TRUE(too_large.empty());
}

// The known value of no bytes at all, and 0 never.
TEST(ContentSums, AreXxh3) {
  EXPECT_EQ(content_sum({}), 0x2d06800538d394c2U);
}

TEST(ContentSums, HaveOneStoredForm) {
  ContentSums sums(6 * kSumBlockBytes);
  EXPECT_EQ(sums.serialize(), "");
  sums.set(1, 0x0807060504030201);
  sums.set(2, 0);  // stands for unknown, so it is kept as 1
  sums.set(5, 0xff);
  const std::string stored(
      "\x01\x02\x01\x02\x03\x04\x05\x06\x07\x08\x01\0\0\0\0\0\0\0\x02\x01\xff\0\0\0\0\0\0\0", 28);
  EXPECT_EQ(sums.serialize(), stored);
  EXPECT_EQ(ContentSums::parse(6 * kSumBlockBytes, stored), sums);
  EXPECT_FALSE(ContentSums::parse(5 * kSumBlockBytes, stored));  // more than there are blocks
  for (size_t cut = 1; cut < stored.size(); ++cut) {
    if (cut == 18) continue;  // one run less
    EXPECT_FALSE(ContentSums::parse(6 * kSumBlockBytes, stored.substr(0, cut))) << cut;
  }
  EXPECT_FALSE(ContentSums::parse(kSumBlockBytes, std::string("\0\0", 2)));  // an empty run
  EXPECT_FALSE(ContentSums::parse(kSumBlockBytes, std::string("\0\x01\0\0\0\0\0\0\0\0", 10)));  // 0 is no sum
}

TEST(ContentSums, OfBlocksThatChangeAreForgotten) {
  const auto all = [] {
    ContentSums sums(4 * kSumBlockBytes + 100);
    for (size_t i = 0; i < sums.blocks(); ++i) sums.set(i, i + 1);
    return sums;
  };
  const auto known = [](const ContentSums& sums) {
    std::string out;
    for (size_t i = 0; i < sums.blocks(); ++i) out += sums.knows(i) ? '1' : '0';
    return out;
  };
  ContentSums sums = all();
  EXPECT_TRUE(sums.knows_all());
  sums.forget(kSumBlockBytes - 1, kSumBlockBytes + 1);
  EXPECT_EQ(known(sums), "00111");
  sums.forget(4 * kSumBlockBytes, 1 << 30);
  EXPECT_EQ(known(sums), "00110");
  sums = all();
  sums.forget(5, 5);
  EXPECT_EQ(known(sums), "11111");
  ExtentSet present;
  present.add(1, 3 * kSumBlockBytes - 1);
  present.add(4 * kSumBlockBytes, 4 * kSumBlockBytes + 100);
  sums.keep_only(present);
  EXPECT_EQ(known(sums), "01001");
  sums = all();
  sums.resize(4 * kSumBlockBytes + 101);
  EXPECT_EQ(known(sums), "11110") << "the last one is longer";
  sums = all();
  sums.resize(2 * kSumBlockBytes + 1);
  EXPECT_EQ(known(sums), "110");
  sums = all();
  sums.resize(kLongSumsFromBytes + 1);
  EXPECT_TRUE(sums.empty()) << "its blocks are others";
}

// Whatever the pieces are, and however they overlap.
TEST(RunningSums, AreThoseOfTheBytes) {
  std::mt19937_64 random(support::test_seed());
  for (int round = 0; round < 60; ++round) {
    const size_t size = random() % 400'000 + 1;
    const size_t expected = random() % 3 == 0 ? random() % 400'000 : size;
    std::vector<std::byte> bytes(size);
    ExtentSet written;
    RunningSums running{ContentSums(expected)};
    const auto read = [&](uint64_t offset, std::span<std::byte> out) -> Result<void> {
      std::copy_n(bytes.begin() + static_cast<int64_t>(offset), out.size(), out.begin());
      return {};
    };
    const bool in_order = random() % 2 == 0;
    const size_t largest = random() % 2 == 0 ? 200'000 : 9'000;
    uint64_t next = 0;
    for (int pieces = 0; !written.covers(0, size); ++pieces) {
      uint64_t at = in_order || pieces > 60 ? next % size : random() % size;
      const size_t length = std::min<uint64_t>(random() % largest + 1, size - at);
      for (size_t i = at; i < at + length; ++i) bytes[i] = static_cast<std::byte>(random());
      running.wrote(at, std::span(bytes).subspan(at, length));
      written.add(at, at + length);
      next = at + length;
      if (random() % 10 == 0) {
        // As a commit half way: only what is there as a whole is told.
        const auto part = must(running.of(written, read));
        for (size_t block = 0; block < part.blocks(); ++block) {
          const auto range = part.range_of(block);
          ASSERT_TRUE(!part.knows(block) || written.covers(range.begin, range.end));
        }
      }
      if (random() % 20 == 0 && !in_order) {
        const uint64_t from = random() % size;
        written.remove(from, from + 1000);
        running.discard(from, from + 1000);
      }
    }
    running.resize(size);
    EXPECT_EQ(must(running.of(written, read)), sums_of(bytes)) << "round " << round;
  }
}

}  // namespace
}  // namespace rsyncfs
