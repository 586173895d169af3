// SPDX-License-Identifier: GPL-3.0-or-later
// The vector forms take 64, 32 or 16 bytes a step. Of a step of k bytes b:
//   s2 += k * s1 + k * b[0] + (k - 1) * b[1] + ... + b[k - 1];  s1 += b[0] + ... + b[k - 1]
// The products of two neighbours are added in 16 bits: with weights up to 64 that is -16256..16129, so two of
// them fit, too.
#include "sync/rsync/rolling_sum.h"

#include <vector>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "io/base/simd.h"

namespace rsyncfs {
namespace {

struct Sums {
  uint32_t s1 = 0;
  uint32_t s2 = 0;
  uint32_t value() const { return (s1 & 0xffff) | s2 << 16; }
};

inline void add_bytes(Sums& sums, const std::byte* data, const std::byte* end) {
  for (; data != end; ++data) {
    sums.s1 += static_cast<uint32_t>(static_cast<int8_t>(*data));
    sums.s2 += sums.s1;
  }
}

uint32_t scalar_sum(const std::byte* data, size_t size) {
  Sums sums;
  add_bytes(sums, data, data + size);
  return sums.value();
}
constexpr RollingSumVariant kScalar{"scalar", scalar_sum};

#ifdef __x86_64__

// Blocks lie one behind the other: while the strong sum of one is computed, memory need not rest. What is not
// there is no error for a prefetch.
constexpr size_t kPrefetchBytes = 2048;

__attribute__((target("ssse3"))) inline uint32_t sum_of_lanes(__m128i lanes) {
  lanes = _mm_add_epi32(lanes, _mm_shuffle_epi32(lanes, 0x4e));
  lanes = _mm_add_epi32(lanes, _mm_shuffle_epi32(lanes, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(lanes));
}

__attribute__((target("ssse3"))) inline __m128i load_16(const std::byte* data) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
}

// One step of 16.
__attribute__((target("ssse3"))) inline void add_16(Sums& sums, const std::byte* data) {
  const __m128i ones = _mm_set1_epi16(1);
  const __m128i weights = _mm_setr_epi8(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1);
  const __m128i bytes = load_16(data);
  const __m128i plain = _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), bytes), ones);
  const __m128i weighted = _mm_madd_epi16(_mm_maddubs_epi16(weights, bytes), ones);
  sums.s2 += 16 * sums.s1 + sum_of_lanes(weighted);
  sums.s1 += sum_of_lanes(plain);
}

__attribute__((target("ssse3"))) uint32_t ssse3_sum(const std::byte* data, size_t size) {
  const std::byte* const end = data + size;
  const __m128i byte_ones = _mm_set1_epi8(1);
  const __m128i ones = _mm_set1_epi16(1);
  const __m128i weights_high = _mm_setr_epi8(32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17);
  const __m128i weights_low = _mm_setr_epi8(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1);
  __m128i s1 = _mm_setzero_si128();
  __m128i s1_before = _mm_setzero_si128();  // the sum of s1 before each step
  __m128i weighted = _mm_setzero_si128();
  for (; end - data >= 32; data += 32) {
    const __m128i a = load_16(data);
    const __m128i b = load_16(data + 16);
    const __m128i plain = _mm_add_epi16(_mm_maddubs_epi16(byte_ones, a), _mm_maddubs_epi16(byte_ones, b));
    const __m128i products =
        _mm_add_epi16(_mm_maddubs_epi16(weights_high, a), _mm_maddubs_epi16(weights_low, b));
    s1_before = _mm_add_epi32(s1_before, s1);
    s1 = _mm_add_epi32(s1, _mm_madd_epi16(plain, ones));
    weighted = _mm_add_epi32(weighted, _mm_madd_epi16(products, ones));
  }
  Sums sums{sum_of_lanes(s1), 32 * sum_of_lanes(s1_before) + sum_of_lanes(weighted)};
  if (end - data >= 16) {
    add_16(sums, data);
    data += 16;
  }
  add_bytes(sums, data, end);
  return sums.value();
}
constexpr RollingSumVariant kSsse3{"ssse3", ssse3_sum};

__attribute__((target("avx2"))) inline uint32_t sum_of_wide_lanes(__m256i lanes) {
  return sum_of_lanes(_mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1)));
}

__attribute__((target("avx2"))) inline __m256i load_32(const std::byte* data) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data));
}

__attribute__((target("avx2"))) uint32_t avx2_sum(const std::byte* data, size_t size) {
  const std::byte* const end = data + size;
  const __m256i byte_ones = _mm256_set1_epi8(1);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i weights_high =
      _mm256_setr_epi8(64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43,
                       42, 41, 40, 39, 38, 37, 36, 35, 34, 33);
  const __m256i weights_low = _mm256_sub_epi8(weights_high, _mm256_set1_epi8(32));
  __m256i s1 = _mm256_setzero_si256();
  __m256i s1_before = _mm256_setzero_si256();  // the sum of s1 before each step
  __m256i weighted = _mm256_setzero_si256();
  for (; end - data >= 64; data += 64) {
    const __m256i a = load_32(data);
    const __m256i b = load_32(data + 32);
    const __m256i plain =
        _mm256_add_epi16(_mm256_maddubs_epi16(byte_ones, a), _mm256_maddubs_epi16(byte_ones, b));
    const __m256i products =
        _mm256_add_epi16(_mm256_maddubs_epi16(weights_high, a), _mm256_maddubs_epi16(weights_low, b));
    _mm_prefetch(reinterpret_cast<const char*>(data) + kPrefetchBytes, _MM_HINT_T0);
    s1_before = _mm256_add_epi32(s1_before, s1);
    s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(plain, ones));
    weighted = _mm256_add_epi32(weighted, _mm256_madd_epi16(products, ones));
  }
  Sums sums{sum_of_wide_lanes(s1), 64 * sum_of_wide_lanes(s1_before) + sum_of_wide_lanes(weighted)};
  for (; end - data >= 16; data += 16) add_16(sums, data);
  add_bytes(sums, data, end);
  return sums.value();
}
constexpr RollingSumVariant kAvx2{"avx2", avx2_sum};

#endif  // __x86_64__

const RollingSumVariant& chosen() {
  static const RollingSumVariant& variant =
      choose_variant<RollingSumVariant>("rolling sum", rolling_sum_variants(), rolling_sum_agrees);
  return variant;
}

// Every number of steps of each length, and sums that overflow 16 bits in each lane if they can.
constexpr size_t kTestLengths[] = {0, 1, 15, 16, 17, 31, 32, 47, 48, 63, 64, 65, 127, 700, 4095, 16384};
constexpr size_t kLongestTest = 16384;

}  // namespace

std::span<const RollingSumVariant* const> rolling_sum_variants() {
#ifdef __x86_64__
  static constexpr const RollingSumVariant* kAll[] = {&kAvx2, &kSsse3, &kScalar};
  const size_t missing = __builtin_cpu_supports("avx2") ? 0 : (__builtin_cpu_supports("ssse3") ? 1 : 2);
  return std::span(kAll).subspan(missing);
#else
  static constexpr const RollingSumVariant* kAll[] = {&kScalar};
  return kAll;
#endif
}

bool rolling_sum_agrees(const RollingSumVariant& variant, const RollingSumVariant& twin) {
  std::vector<std::byte> bytes(kLongestTest + 1);
  uint32_t value = 1;
  for (std::byte& b : bytes) {
    value = value * 1664525 + 1013904223;
    b = static_cast<std::byte>(value >> 24);
  }
  const auto same = [&] {
    for (const size_t length : kTestLengths) {
      // One byte off, so that nothing is aligned.
      if (variant.sum(bytes.data() + 1, length) != twin.sum(bytes.data() + 1, length)) return false;
    }
    return true;
  };
  if (!same()) return false;
  bytes.assign(bytes.size(), std::byte{0x80});
  if (!same()) return false;
  bytes.assign(bytes.size(), std::byte{0x7f});
  return same();
}

std::string_view rolling_sum_variant_name() {
  return chosen().name;
}

uint32_t rolling_sum(std::span<const std::byte> block) {
  return chosen().sum(block.data(), block.size());
}

}  // namespace rsyncfs
