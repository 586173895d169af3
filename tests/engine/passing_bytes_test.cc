// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/passing_bytes.h"

#include <vector>

#include <gtest/gtest.h>

namespace rsyncfs {
namespace {

constexpr uint64_t kPiece = 1 << 20;

SharedBytes piece(int value) {
  const auto owner = std::make_shared<const std::vector<std::byte>>(kPiece, static_cast<std::byte>(value));
  return {owner, *owner};
}

TEST(PassingBytes, TheOldestMakeRoom) {
  PassingBytes passing;
  ExtentSet gone;
  for (uint64_t i = 0; i < 20; ++i) {
    const ExtentSet now = passing.add(i * kPiece, piece(static_cast<int>(i)));
    for (const auto& range : now.ranges()) gone.add(range.begin, range.end);
  }
  EXPECT_EQ(gone.bytes(), 20 * kPiece - PassingBytes::kMaxBytes);
  EXPECT_TRUE(gone.covers(0, 4 * kPiece));
  std::vector<std::byte> out(100);
  EXPECT_FALSE(passing.read(0, out));
  EXPECT_FALSE(passing.read(4 * kPiece - 1, out));
  ASSERT_TRUE(passing.read(5 * kPiece - 50, out)) << "over the border of two pieces";
  EXPECT_EQ(out.front(), std::byte{4});
  EXPECT_EQ(out.back(), std::byte{5});
}

TEST(PassingBytes, WhatCameTwiceIsNotGoneWithTheFirst) {
  PassingBytes passing;
  static_cast<void>(passing.add(0, piece(1)));
  for (uint64_t i = 1; i < 10; ++i) static_cast<void>(passing.add(i * kPiece, piece(0)));
  static_cast<void>(passing.add(0, piece(1)));
  ExtentSet gone;
  for (uint64_t i = 10; i < 17; ++i) {
    const ExtentSet now = passing.add(i * kPiece, piece(0));
    for (const auto& range : now.ranges()) gone.add(range.begin, range.end);
  }
  EXPECT_FALSE(gone.covers(0, 1));
  std::vector<std::byte> out(kPiece);
  EXPECT_TRUE(passing.read(0, out));
}

TEST(PassingBytes, ManyShareWhatThereIs) {
  std::vector<std::unique_ptr<PassingBytes>> many;
  for (int i = 0; i < 16; ++i) many.push_back(std::make_unique<PassingBytes>());
  EXPECT_EQ(PassingBytes::limit(), PassingBytes::kMaxAllBytes / 16);
  many.resize(1);
  EXPECT_EQ(PassingBytes::limit(), PassingBytes::kMaxBytes);
}

}  // namespace
}  // namespace rsyncfs
