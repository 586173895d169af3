// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/xxh.h"

#include <algorithm>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/base/simd.h"
#include "io/base/xxh_variants.h"
#include "tests/support/guarded_bytes.h"
#include "tests/support/seed.h"

namespace rsyncfs::test {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

void fill(std::span<std::byte> bytes, std::mt19937_64& random) {
  std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
}

Xxh128 hash_128(const XxhVariant& variant, std::span<const std::byte> data, const XxhSeed& seed) {
  Xxh128 out;
  variant.hash_128(data.data(), data.size(), seed, &out.low, &out.high);
  return out;
}

void expect_same(std::span<const std::byte> data, const XxhSeed& seed) {
  for (const XxhVariant* variant : xxh_variants()) {
    EXPECT_EQ(variant->hash_64(data.data(), data.size(), seed),
              kXxhScalar.hash_64(data.data(), data.size(), seed))
        << variant->name << ", " << data.size() << " bytes";
    EXPECT_EQ(hash_128(*variant, data, seed), hash_128(kXxhScalar, data, seed))
        << variant->name << ", " << data.size() << " bytes";
  }
}

TEST(Xxh, KnownHashes) {
  // As xxhsum prints them.
  EXPECT_EQ(xxh64({}), 0xef46db3751d8e999u);
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(xxh3_128({}), (Xxh128{0x6001c324468d497f, 0x99aa06d3014798d8}));
  EXPECT_EQ(xxh3_64(bytes_of(std::string(5000, 'a'))), 0x86bab6aca5d8f5e9u);
  EXPECT_EQ(xxh3_128(bytes_of(std::string(5000, 'a'))), (Xxh128{0x86bab6aca5d8f5e9, 0x7f707e18d1f47e4b}));
}

// A buffer that begins and ends at a guard page, so nothing is read beyond it; every length of the short
// forms and around each stripe and block of the long one, so each alignment as well.
TEST(Xxh, VariantsAgreeAndReadNothingElse) {
  std::mt19937_64 random(support::test_seed());
  support::GuardedBytes memory(20'000);
  fill(memory.all(), random);
  for (const uint64_t value : {uint64_t{0}, uint64_t{4711}, static_cast<uint64_t>(int64_t{-5}), random()}) {
    const XxhSeed seed = make_xxh_seed(value);
    for (size_t size = 0; size <= 2200; ++size) {
      expect_same(memory.at_end(size), seed);
      expect_same(memory.at_begin(size), seed);
    }
    for (const size_t size : {4095u, 4096u, 4097u, 8191u, 16'384u, 20'000u})
      expect_same(memory.at_end(size), seed);
  }
}

TEST(Xxh, PiecesMakeNoDifference) {
  std::mt19937_64 random(support::test_seed());
  support::GuardedBytes memory(20'000);
  fill(memory.all(), random);
  for (const size_t size : {0u, 1u, 240u, 241u, 256u, 1024u, 20'000u}) {
    const auto data = memory.at_end(size);
    Xxh3State state;
    Xxh64State state_64;
    for (std::span<const std::byte> rest = data; !rest.empty();) {
      const auto piece = rest.first(std::min<size_t>(rest.size(), random() % 700));
      state.update(piece);
      state_64.update(piece);
      rest = rest.subspan(piece.size());
    }
    EXPECT_EQ(state.digest_64(), xxh3_64(data)) << size;
    EXPECT_EQ(state.digest_128(), xxh3_128(data)) << size;
    EXPECT_EQ(state_64.digest(), xxh64(data)) << size;
    state.reset();
    EXPECT_EQ(state.digest_64(), xxh3_64({}));
  }
}

// A thread remembers the seed of its last sum.
TEST(Xxh, SeedsAreNotMixedUp) {
  const std::string text(1000, 's');
  const uint64_t plain = xxh3_64(bytes_of(text));
  const uint64_t seeded = xxh3_64(bytes_of(text), 9);
  EXPECT_NE(plain, seeded);
  EXPECT_EQ(xxh3_64(bytes_of(text)), plain);
  EXPECT_EQ(xxh3_64(bytes_of(text), 9), seeded);
}

TEST(Xxh, WhatTheProcessorHasIsUsed) {
#ifdef __x86_64__
  EXPECT_EQ(xxh_variant_name(), __builtin_cpu_supports("avx2") ? "avx2" : "sse2");
#endif
  EXPECT_STREQ(xxh_variants().back()->name, "scalar");
  for (const XxhVariant* variant : xxh_variants()) EXPECT_TRUE(xxh_agrees(*variant, kXxhScalar));
}

// Wrong of one length only, in one of its functions only.
TEST(Xxh, SelfTestFindsWhatIsWrong) {
  XxhVariant wrong = kXxhScalar;
  wrong.hash_64 = [](const void* data, size_t size, const XxhSeed& seed) {
    return kXxhScalar.hash_64(data, size, seed) ^ (size == 1024 ? 1u : 0u);
  };
  EXPECT_FALSE(xxh_agrees(wrong, kXxhScalar));
  wrong = kXxhScalar;
  wrong.hash_128 = [](const void* data, size_t size, const XxhSeed& seed, uint64_t* low, uint64_t* high) {
    kXxhScalar.hash_128(data, size, seed, low, high);
    if (size == 129) ++*high;
  };
  EXPECT_FALSE(xxh_agrees(wrong, kXxhScalar));
  wrong = kXxhScalar;
  wrong.update = [](void* state, const void* data, size_t size) {
    kXxhScalar.update(state, data, size - (size == 256 ? 1 : 0));
  };
  EXPECT_FALSE(xxh_agrees(wrong, kXxhScalar));
}

TEST(Simd, AProcessorThatComputesWronglyGetsTheScalarTwin) {
  XxhVariant wrong = kXxhScalar;
  wrong.name = "wrong";
  wrong.hash_64 = [](const void*, size_t, const XxhSeed&) -> uint64_t { return 7; };
  const auto choose = [](std::initializer_list<const XxhVariant*> variants) {
    return &choose_variant<XxhVariant>("XXH3", {variants.begin(), variants.size()}, xxh_agrees);
  };
  testing::internal::CaptureStderr();
  EXPECT_EQ(choose({&kXxhNative, &kXxhScalar}), &kXxhNative);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  testing::internal::CaptureStderr();
  EXPECT_EQ(choose({&wrong, &kXxhNative, &kXxhScalar}), &kXxhScalar);
  EXPECT_EQ(choose({&kXxhNative, &wrong, &kXxhScalar}), &kXxhScalar);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("wrong sums with wrong"));
}

}  // namespace
}  // namespace rsyncfs::test
