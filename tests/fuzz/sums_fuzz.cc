// SPDX-License-Identifier: GPL-3.0-or-later
// What each vector unit computes is what the scalar code computes, of any bytes at any place in memory. The
// first bytes say which place, which pieces and which seed.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "io/base/result.h"
#include "io/base/xxh.h"
#include "io/base/xxh_variants.h"
#include "sync/rsync/rolling_sum.h"
#include "sync/rsync/sum_filter.h"

namespace rsyncfs {
namespace {

struct Head {
  uint32_t seed;
  uint8_t offset;
  uint8_t word_seed;
  uint16_t piece;
};

void check_sums(std::span<const std::byte> data, const Head& head) {
  const XxhSeed seed = make_xxh_seed(head.seed);
  Xxh128 right;
  kXxhScalar.hash_128(data.data(), data.size(), seed, &right.low, &right.high);
  for (const XxhVariant* variant : xxh_variants()) {
    Xxh128 sum;
    variant->hash_128(data.data(), data.size(), seed, &sum.low, &sum.high);
    RSYNCFS_CHECK(sum == right);
    RSYNCFS_CHECK(variant->hash_64(data.data(), data.size(), seed) ==
                  kXxhScalar.hash_64(data.data(), data.size(), seed));
  }
  const RollingSumVariant& scalar = *rolling_sum_variants().back();
  for (const RollingSumVariant* variant : rolling_sum_variants()) {
    RSYNCFS_CHECK(variant->sum(data.data(), data.size()) == scalar.sum(data.data(), data.size()));
  }
}

void check_pieces(std::span<const std::byte> data, const Head& head) {
  Xxh3State state;
  for (auto rest = data; !rest.empty();) {
    const auto piece = rest.first(std::min<size_t>(rest.size(), head.piece + size_t{1}));
    state.update(piece);
    rest = rest.subspan(piece.size());
  }
  RSYNCFS_CHECK(state.digest_64() == xxh3_64(data));
  RSYNCFS_CHECK(state.digest_128() == xxh3_128(data));
}

// From one place where the filter stops to the next.
void check_roll(std::span<const std::byte> data, const Head& head) {
  constexpr unsigned kWordBits = 5;
  uint32_t words[size_t{1} << kWordBits];
  uint32_t value = head.word_seed;
  for (uint32_t& word : words) {
    value = value * 1664525 + 1013904223;
    word = value & value >> 7 & value << 5;
  }
  const size_t length = head.piece % 900 + size_t{1};
  if (data.size() <= length) return;
  const uint32_t sum = rolling_sum(data.first(length));
  for (const RollVariant* variant : roll_variants()) {
    RollingWindow window{data.data(), static_cast<uint32_t>(length), sum & 0xffff, sum >> 16};
    RollingWindow right = window;
    while (true) {
      const size_t left = data.size() - length - static_cast<size_t>(window.data - data.data());
      if (left == 0) break;
      variant->roll(words, kWordBits, window, left);
      roll_variants().back()->roll(words, kWordBits, right, left);
      RSYNCFS_CHECK(window.data == right.data && window.sum() == right.sum());
    }
  }
}

}  // namespace
}  // namespace rsyncfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rsyncfs::Head head{};
  if (size < sizeof head) return 0;
  std::memcpy(&head, data, sizeof head);
  const size_t length = size - sizeof head;
  // Exactly as long as it is, so that the address sanitizer sees what is read beyond.
  const size_t offset = head.offset % 64;
  const auto copy = std::make_unique<std::byte[]>(offset + length);
  std::memcpy(copy.get() + offset, data + sizeof head, length);
  const std::span<const std::byte> bytes(copy.get() + offset, length);
  rsyncfs::check_sums(bytes, head);
  rsyncfs::check_pieces(bytes, head);
  rsyncfs::check_roll(bytes, head);
  return 0;
}
