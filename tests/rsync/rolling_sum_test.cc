// SPDX-License-Identifier: GPL-3.0-or-later
// The rolling sum against its definition, and each vector unit against the scalar code.
#include "sync/rsync/rolling_sum.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "sync/rsync/block_index.h"
#include "sync/rsync/sum_filter.h"
#include "tests/rsync/fake_server.h"
#include "tests/support/guarded_bytes.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

const RollingSumVariant& scalar() {
  return *rolling_sum_variants().back();
}

void expect_same(std::span<const std::byte> data) {
  for (const RollingSumVariant* variant : rolling_sum_variants()) {
    ASSERT_EQ(variant->sum(data.data(), data.size()), scalar().sum(data.data(), data.size()))
        << variant->name << ", " << data.size() << " bytes";
  }
}

void fill(std::span<std::byte> bytes, std::mt19937_64& random) {
  std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
}

TEST(RollingSum, TakesBytesAsSigned) {
  EXPECT_EQ(rolling_sum(bytes_of("")), 0u);
  EXPECT_EQ(rolling_sum({}), 0u);
  EXPECT_EQ(rolling_sum(bytes_of("a")), 0x00610061u);
  EXPECT_EQ(rolling_sum(bytes_of("ab")), (97u + 98u) | (97u * 2 + 98u) << 16);
  EXPECT_EQ(rolling_sum(bytes_of("\xff")), 0xffffffffu);
  EXPECT_EQ(rolling_sum(bytes_of("\x80\x80")), (0xff00u | (static_cast<uint32_t>(-384) << 16)));
}

// At a guard page, so nothing is read beyond; every length around the steps, so each alignment as well.
TEST(RollingSum, VariantsAgreeAndReadNothingElse) {
  std::mt19937_64 random(support::test_seed());
  support::GuardedBytes memory(131'073);
  const auto all_lengths = [&] {
    for (size_t size = 0; size <= 1100; ++size) {
      expect_same(memory.at_end(size));
      expect_same(memory.at_begin(size));
    }
    for (const size_t size : {4095u, 4096u, 65'535u, 131'072u, 131'073u}) expect_same(memory.at_end(size));
  };
  fill(memory.all(), random);
  all_lengths();
  // What is largest of each sign, so that sums in 16 bits would overflow.
  for (const int value : {0x80, 0x7f, 0xff, 0x00}) {
    std::ranges::fill(memory.all(), static_cast<std::byte>(value));
    all_lengths();
  }
}

TEST(RollingSum, WhatTheProcessorHasIsUsed) {
#ifdef __x86_64__
  EXPECT_EQ(rolling_sum_variant_name(), __builtin_cpu_supports("avx2") ? "avx2" : "ssse3");
  EXPECT_EQ(roll_variant_name(), __builtin_cpu_supports("avx2") ? "avx2" : "scalar");
#endif
  EXPECT_STREQ(scalar().name, "scalar");
  for (const RollingSumVariant* variant : rolling_sum_variants())
    EXPECT_TRUE(rolling_sum_agrees(*variant, scalar()));
  for (const RollVariant* variant : roll_variants())
    EXPECT_TRUE(roll_agrees(*variant, *roll_variants().back()));
}

TEST(RollingSum, SelfTestFindsWhatIsWrong) {
  RollingSumVariant wrong = scalar();
  // Saturates as 16 bits would.
  wrong.sum = [](const std::byte* data, size_t size) -> uint32_t {
    return size >= 64 && data[0] == std::byte{0x80} ? 0 : scalar().sum(data, size);
  };
  EXPECT_FALSE(rolling_sum_agrees(wrong, scalar()));
  const RollVariant& twin = *roll_variants().back();
  RollVariant deaf = twin;
  deaf.roll = [](const uint32_t*, unsigned, RollingWindow& window, size_t most) {
    static const std::vector<uint32_t> kNothing(size_t{1} << 6);
    roll_variants().back()->roll(kNothing.data(), 6, window, most);
  };
  EXPECT_FALSE(roll_agrees(deaf, twin));
}

// What it stops at is what a look at every place says; the last byte that may be read is the last that is.
TEST(Roll, StopsWhereTheFilterSays) {
  std::mt19937_64 random(support::test_seed());
  for (int round = 0; round < 400; ++round) {
    const size_t length = 1 + random() % 900;
    const size_t most = 1 + random() % 300;
    support::GuardedBytes memory(length + most);
    fill(memory.all(), random);
    const auto data = std::span<const std::byte>(memory.at_end(length + most));
    const uint32_t first = rolling_sum(data.first(length));
    std::vector<uint32_t> words(64);
    for (uint32_t& word : words) {
      word = static_cast<uint32_t>(random() & random() & random());
      if (round % 2 == 0) word &= static_cast<uint32_t>(random() & random());
    }
    const RollingWindow start{data.data(), static_cast<uint32_t>(length), first & 0xffff, first >> 16};
    RollingWindow expected = start;
    roll_variants().back()->roll(words.data(), 6, expected, most);
    const auto moved = static_cast<size_t>(expected.data - start.data);
    ASSERT_GE(moved, 1u);
    ASSERT_LE(moved, most);
    EXPECT_EQ(expected.sum(), rolling_sum(data.subspan(moved, length)));
    for (const RollVariant* variant : roll_variants()) {
      RollingWindow window = start;
      variant->roll(words.data(), 6, window, most);
      ASSERT_EQ(window.data - start.data, expected.data - start.data) << variant->name;
      ASSERT_EQ(window.sum(), expected.sum()) << variant->name;
    }
  }
}

TEST(SumFilter, ForgetsNothingAndStopsMostOthers) {
  std::mt19937_64 random(support::test_seed());
  for (const size_t blocks : {1u, 100u, 8192u, 65'536u}) {
    SumFilter filter(blocks);
    std::vector<uint32_t> added(blocks);
    for (uint32_t& sum : added) filter.add(sum = static_cast<uint32_t>(random()));
    EXPECT_TRUE(std::ranges::all_of(added, [&](uint32_t sum) { return filter.may_have(sum); }));
    int passed = 0;
    for (int i = 0; i < 100'000; ++i) passed += filter.may_have(static_cast<uint32_t>(random())) ? 1 : 0;
    EXPECT_LT(passed, 2000) << blocks;
  }
}

// A peer may send as many equal sums as it likes.
TEST(BlockIndex, ChainsAreBounded) {
  const std::vector<BlockSum> blocks(100'000, BlockSum{0x12345678, {}});
  const BlockIndex index(blocks);
  int looked = 0;
  EXPECT_EQ(index.find(0x12345678,
                       [&looked](uint32_t) {
                         ++looked;
                         return false;
                       }),
            BlockIndex::kNone);
  EXPECT_EQ(looked, BlockIndex::kMaxChain);
  EXPECT_EQ(index.find(0x12345678, [](uint32_t) { return true; }), 0u);
  EXPECT_EQ(index.find(0x12345678, [](uint32_t block) { return block == 1000; }), 1000u);
  EXPECT_EQ(index.find(1, [](uint32_t) { return true; }), BlockIndex::kNone);
}

}  // namespace
}  // namespace rsyncfs
