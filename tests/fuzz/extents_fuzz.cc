// SPDX-License-Identifier: GPL-3.0-or-later
// The stored form of a set of extents: what is accepted has exactly one form, and keeps the set's promises.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/base/result.h"
#include "sync/replica/types.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto set = rsyncfs::ExtentSet::parse(bytes);
  if (!set) return 0;
  RSYNCFS_CHECK(set->serialize() == bytes);
  uint64_t total = 0;
  rsyncfs::ExtentSet again;
  for (const auto& range : set->ranges()) {
    RSYNCFS_CHECK(range.begin < range.end);
    RSYNCFS_CHECK(set->covers(range.begin, range.end));
    RSYNCFS_CHECK(again.ranges().empty() || again.ranges().back().end < range.begin);
    again.add(range.begin, range.end);
    total += range.end - range.begin;
  }
  RSYNCFS_CHECK(again == *set && set->bytes() == total);
  if (set->ranges().empty()) return 0;
  // The gaps between the first and the last byte make it whole.
  const uint64_t begin = set->ranges().front().begin;
  const uint64_t end = set->ranges().back().end;
  for (const auto& gap : set->missing(begin, end)) again.add(gap.begin, gap.end);
  RSYNCFS_CHECK(again.ranges().size() == 1 && again.covers(begin, end));
  for (const auto& range : set->ranges()) again.remove(range.begin, range.end);
  RSYNCFS_CHECK(again.ranges() == set->missing(begin, end));
  return 0;
}
