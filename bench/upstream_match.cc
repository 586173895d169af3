// SPDX-License-Identifier: GPL-3.0-or-later
#include "bench/upstream_match.h"

#include <algorithm>
#include <cstring>

#include "sync/rsync/rolling_sum.h"

namespace rsyncfs::bench {

namespace {

constexpr size_t kTraditionalSlots = size_t{1} << 16;
constexpr int32_t kNone = -1;

size_t small_hash(uint32_t s1, uint32_t s2) {
  return (s1 + s2) & 0xffff;
}

uint32_t signed_byte(std::byte b) {
  return static_cast<uint32_t>(static_cast<int8_t>(b));
}

// As the window of a file that is mapped: what is asked for is nearly always there.
class Window {
 public:
  explicit Window(std::span<const std::byte> data) : data_(data) {}
  __attribute__((noinline)) const std::byte* map(size_t offset, size_t length) {
    if (length == 0) return nullptr;
    if (offset >= start_ && offset + length <= start_ + length_) return data_.data() + offset;
    start_ = offset;
    length_ = std::min(data_.size() - offset, std::max(length, kWindowBytes));
    return data_.data() + offset;
  }

 private:
  static constexpr size_t kWindowBytes = 256 * 1024;
  std::span<const std::byte> data_;
  size_t start_ = 0;
  size_t length_ = 0;
};

}  // namespace

UpstreamMatch::UpstreamMatch(const BlockSums& sums, ChecksumKind kind, int32_t seed)
    : sums_(sums), kind_(kind), seed_(seed) {
  const size_t count = sums.blocks.size();
  table_.assign(std::max(count / 8 * 10 + 11, kTraditionalSlots), kNone);
  chains_.assign(count, kNone);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t rolling = sums.blocks[i].rolling;
    const size_t slot = table_.size() == kTraditionalSlots ? small_hash(rolling & 0xffff, rolling >> 16)
                                                           : rolling % table_.size();
    chains_[i] = table_[slot];
    table_[slot] = static_cast<int32_t>(i);
  }
}

template <bool kTraditional, typename Map>
UpstreamMatch::Counts UpstreamMatch::search_with(std::span<const std::byte> data, Map map) const {
  Counts counts;
  const size_t end = data.size();
  size_t window = std::min<size_t>(sums_.block_length, data.size());
  uint32_t sum = rolling_sum({map(0, window), window});
  uint32_t s1 = sum & 0xffff;
  uint32_t s2 = sum >> 16;
  for (size_t offset = 0; offset < end; ++offset) {
    int32_t i = kNone;
    if constexpr (kTraditional) {
      i = table_[small_hash(s1, s2)];
      sum = (s1 & 0xffff) | s2 << 16;
    } else {
      sum = (s1 & 0xffff) | s2 << 16;
      i = table_[sum % table_.size()];
    }
    if (i >= 0) {
      ++counts.hash_hits;
      bool strong_known = false;
      ChecksumValue strong;
      for (; i >= 0; i = chains_[static_cast<size_t>(i)]) {
        const BlockSum& block = sums_.blocks[static_cast<size_t>(i)];
        if (block.rolling != sum || window != sums_.block_length) continue;
        if (!strong_known) {
          strong = block_sum(kind_, seed_, {map(offset, window), window});
          strong_known = true;
        }
        if (std::memcmp(strong.bytes.data(), block.strong.bytes.data(), sums_.strong_length) != 0) {
          ++counts.false_alarms;
          continue;
        }
        ++counts.matches;
        offset += window - 1;
        window = std::min<size_t>(sums_.block_length, data.size() - offset);
        sum = rolling_sum({map(offset, window), window});
        s1 = sum & 0xffff;
        s2 = sum >> 16;
        break;
      }
    }
    const bool more = offset + window < data.size();
    const std::byte* bytes = map(offset, window + (more ? 1 : 0));
    s1 -= signed_byte(bytes[0]);
    s2 -= static_cast<uint32_t>(window) * signed_byte(bytes[0]);
    if (more) {
      s1 += signed_byte(bytes[window]);
      s2 += s1;
    } else {
      --window;
    }
  }
  return counts;
}

UpstreamMatch::Counts UpstreamMatch::search(std::span<const std::byte> data, bool through_calls) const {
  const bool traditional = table_.size() == kTraditionalSlots;
  if (through_calls) {
    Window window(data);
    const auto map = [&window](size_t offset, size_t length) { return window.map(offset, length); };
    return traditional ? search_with<true>(data, map) : search_with<false>(data, map);
  }
  const auto map = [data](size_t offset, size_t /*length*/) { return data.data() + offset; };
  return traditional ? search_with<true>(data, map) : search_with<false>(data, map);
}

}  // namespace rsyncfs::bench
