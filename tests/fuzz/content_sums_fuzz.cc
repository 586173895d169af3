// SPDX-License-Identifier: GPL-3.0-or-later
// The stored form of sums: what is accepted has exactly one form, and speaks of no more blocks than there
// are.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "io/base/result.h"
#include "sync/replica/content_sums.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t content_size = 0;
  if (size < sizeof content_size) return 0;
  std::memcpy(&content_size, data, sizeof content_size);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + sizeof content_size,
                               size - sizeof content_size);
  auto sums = rsyncfs::ContentSums::parse(content_size, bytes);
  if (!sums) return 0;
  RSYNCFS_CHECK(sums->serialize() == bytes);
  RSYNCFS_CHECK(sums->size() == content_size && !sums->knows(sums->blocks()));
  RSYNCFS_CHECK(sums->empty() == bytes.empty());
  const size_t blocks = sums->blocks();
  if (blocks == 0) return 0;
  const auto last = sums->range_of(blocks - 1);
  RSYNCFS_CHECK(last.begin < last.end && last.end == content_size);
  sums->forget(0, content_size);
  RSYNCFS_CHECK(sums->empty());
  return 0;
}
