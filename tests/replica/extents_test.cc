// SPDX-License-Identifier: GPL-3.0-or-later
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sync/replica/types.h"
#include "sync/replica/xattr_sets.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

using Range = ExtentSet::Range;

constexpr size_t kSpace = 200;

ExtentSet from_bits(const std::vector<bool>& bits) {
  ExtentSet out;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) out.add(i, i + 1);
  }
  return out;
}

TEST(Extents, AgreeWithASetOfBits) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    ExtentSet set;
    std::vector<bool> bits(kSpace, false);
    for (int step = 0; step < 40; ++step) {
      const uint64_t begin = random() % kSpace;
      const uint64_t end = begin + random() % (kSpace - begin + 1);
      const bool add = random() % 3 != 0;
      if (add) {
        set.add(begin, end);
      } else {
        set.remove(begin, end);
      }
      for (uint64_t i = begin; i < end; ++i) bits[i] = add;
      ASSERT_EQ(set, from_bits(bits));
      const uint64_t from = random() % kSpace;
      const uint64_t to = from + random() % (kSpace - from + 1);
      bool covered = true;
      ExtentSet absent;
      for (uint64_t i = from; i < to; ++i) {
        covered = covered && bits[i];
        if (!bits[i]) absent.add(i, i + 1);
      }
      ASSERT_EQ(set.covers(from, to), covered);
      ASSERT_EQ(set.missing(from, to), absent.ranges());
      const auto parsed = ExtentSet::parse(set.serialize());
      ASSERT_TRUE(parsed.has_value());
      ASSERT_EQ(*parsed, set);
    }
  }
}

TEST(Extents, ReachTheLastByte) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  ExtentSet set;
  set.add(kMax - 1, kMax);
  set.add(0, 1);
  EXPECT_EQ(set.bytes(), 2U);
  EXPECT_EQ(ExtentSet::parse(set.serialize()), set);
  EXPECT_EQ(set.missing(0, kMax), (std::vector<Range>{{1, kMax - 1}}));
  EXPECT_TRUE(set.covers(5, 5));
  set.add(3, 3);
  EXPECT_EQ(set.ranges().size(), 2U);
}

TEST(Extents, HaveOneEncoding) {
  ExtentSet set;
  set.add(0, 300);
  set.add(1000, 1001);
  EXPECT_EQ(set.serialize(), std::string("\x00\xac\x02\xbc\x05\x01", 6));
  // No length, empty range, adjacent ranges, a number with a superfluous byte, numbers and sums beyond 64
  // bits.
  for (const std::string& bad :
       {std::string("\x01", 1), std::string("\x00\x00", 2), std::string("\x00\x01\x00\x01", 4),
        std::string("\x80\x00\x01", 3), std::string("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11),
        std::string("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01", 13), std::string("\x80", 1)}) {
    EXPECT_FALSE(ExtentSet::parse(bad).has_value());
  }
  EXPECT_TRUE(ExtentSet::parse("")->ranges().empty());
}

TEST(Extents, ParseNeverTrustsItsInput) {
  const uint64_t seed = support::test_seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 100000; ++round) {
    std::string bytes(random() % 24, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 4 == 0 ? random() % 4 : random());
    const auto parsed = ExtentSet::parse(bytes);
    if (parsed) {
      ASSERT_EQ(parsed->serialize(), bytes);
    }
    const auto xattrs = decode_xattrs(bytes);
    if (xattrs) {
      ASSERT_EQ(encode_xattrs(*xattrs), bytes);
    }
  }
}

TEST(Xattrs, SurviveTheirEncoding) {
  const StoredXattrs xattrs = {{"", "", 0, false},
                               {"user.a", std::string("\0\xff", 2), 2, false},
                               {"user.b", std::string(16, 'x'), 1ULL << 40, true}};
  EXPECT_EQ(decode_xattrs(encode_xattrs(xattrs)).value(), xattrs);
}

}  // namespace
}  // namespace rsyncfs
