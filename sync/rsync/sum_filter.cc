// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/sum_filter.h"

#include <algorithm>
#include <bit>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "io/base/simd.h"

namespace rsyncfs {

namespace {

constexpr size_t kBitsPerBlock = 32;
constexpr unsigned kWordLog = 5;
constexpr size_t kMinWords = 32;
constexpr size_t kMaxWords = size_t{1} << 18;  // 1 MiB: more does not fit the second-level cache

// Of a sum, the upper bits of the product, which depend on all of its bits, say which word; the next ones,
// which two bits of that, counted from the top.
constexpr uint32_t kSpread = 0x9e3779b1;

struct Place {
  uint32_t word;
  uint32_t first;
  uint32_t second;
};

inline Place place_of(uint32_t rolling, unsigned word_bits) {
  const uint32_t hash = rolling * kSpread;
  return {hash >> (32 - word_bits), hash >> (32 - kWordLog - word_bits) & 31,
          hash >> (32 - 2 * kWordLog - word_bits) & 31};
}

inline bool may_have_sum(const uint32_t* words, unsigned word_bits, uint32_t rolling) {
  const Place place = place_of(rolling, word_bits);
  const uint32_t word = words[place.word];
  return ((word << place.first & word << place.second) >> 31) != 0;
}

inline uint32_t signed_byte(std::byte b) {
  return static_cast<uint32_t>(static_cast<int8_t>(b));
}

void scalar_roll(const uint32_t* words, unsigned word_bits, RollingWindow& window, size_t most) {
  const std::byte* leaving = window.data;
  const std::byte* entering = leaving + window.length;
  const uint32_t length = window.length;
  uint32_t s1 = window.s1;
  uint32_t s2 = window.s2;
  for (const std::byte* const end = leaving + most; leaving != end;) {
    const uint32_t out = signed_byte(*leaving++);
    s1 += signed_byte(*entering++) - out;
    s2 += s1 - length * out;
    if (may_have_sum(words, word_bits, (s1 & 0xffff) | s2 << 16)) break;
  }
  window = {leaving, length, s1, s2};
}
constexpr RollVariant kScalar{"scalar", scalar_roll};

#ifdef __x86_64__

__attribute__((target("avx2"))) inline __m256i load_8(const std::byte* data) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(data)));
}

// Of each lane the sum of all up to it.
__attribute__((target("avx2"))) inline __m256i sums_so_far(__m256i lanes) {
  lanes = _mm256_add_epi32(lanes, _mm256_slli_si256(lanes, 4));
  lanes = _mm256_add_epi32(lanes, _mm256_slli_si256(lanes, 8));
  // What the lower half comes to goes to all of the upper one.
  const __m256i lower = _mm256_permute2x128_si256(lanes, lanes, 0x08);
  return _mm256_add_epi32(lanes, _mm256_shuffle_epi32(lower, 0xff));
}

// Eight places at a time.
__attribute__((target("avx2"))) void avx2_roll(const uint32_t* words, unsigned word_bits,
                                               RollingWindow& window, size_t most) {
  const __m256i last_lane = _mm256_set1_epi32(7);
  const __m256i length = _mm256_set1_epi32(static_cast<int>(window.length));
  const __m256i spread = _mm256_set1_epi32(static_cast<int>(kSpread));
  const __m256i low_half = _mm256_set1_epi32(0xffff);
  const __m256i in_word = _mm256_set1_epi32(31);
  const __m128i word_shift = _mm_cvtsi32_si128(static_cast<int>(32 - word_bits));
  const __m128i first_shift = _mm_cvtsi32_si128(static_cast<int>(32 - kWordLog - word_bits));
  const __m128i second_shift = _mm_cvtsi32_si128(static_cast<int>(32 - 2 * kWordLog - word_bits));
  const int* const base = reinterpret_cast<const int*>(words);
  const std::byte* leaving = window.data;
  const std::byte* const end = leaving + most;
  __m256i s1 = _mm256_set1_epi32(static_cast<int>(window.s1));
  __m256i s2 = _mm256_set1_epi32(static_cast<int>(window.s2));
  for (; end - leaving >= 8; leaving += 8) {
    const __m256i out = load_8(leaving);
    const __m256i in = load_8(leaving + window.length);
    const __m256i s1_lanes = _mm256_add_epi32(s1, sums_so_far(_mm256_sub_epi32(in, out)));
    const __m256i s2_steps = _mm256_sub_epi32(s1_lanes, _mm256_mullo_epi32(length, out));
    const __m256i s2_lanes = _mm256_add_epi32(s2, sums_so_far(s2_steps));
    const __m256i sums =
        _mm256_or_si256(_mm256_and_si256(s1_lanes, low_half), _mm256_slli_epi32(s2_lanes, 16));
    const __m256i hashes = _mm256_mullo_epi32(sums, spread);
    const __m256i found = _mm256_i32gather_epi32(base, _mm256_srl_epi32(hashes, word_shift), 4);
    const __m256i first = _mm256_and_si256(_mm256_srl_epi32(hashes, first_shift), in_word);
    const __m256i second = _mm256_and_si256(_mm256_srl_epi32(hashes, second_shift), in_word);
    const __m256i both = _mm256_and_si256(_mm256_sllv_epi32(found, first), _mm256_sllv_epi32(found, second));
    const auto hits = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(both)));
    if (hits != 0) {
      const int lane = std::countr_zero(hits);
      const __m256i at = _mm256_set1_epi32(lane);
      window.data = leaving + lane + 1;
      window.s1 = static_cast<uint32_t>(_mm256_cvtsi256_si32(_mm256_permutevar8x32_epi32(s1_lanes, at)));
      window.s2 = static_cast<uint32_t>(_mm256_cvtsi256_si32(_mm256_permutevar8x32_epi32(s2_lanes, at)));
      return;
    }
    s1 = _mm256_permutevar8x32_epi32(s1_lanes, last_lane);
    s2 = _mm256_permutevar8x32_epi32(s2_lanes, last_lane);
  }
  window.data = leaving;
  window.s1 = static_cast<uint32_t>(_mm256_cvtsi256_si32(s1));
  window.s2 = static_cast<uint32_t>(_mm256_cvtsi256_si32(s2));
  _mm256_zeroupper();  // not done by g++ 12 before a call at the end
  if (leaving != end) scalar_roll(words, word_bits, window, static_cast<size_t>(end - leaving));
}
constexpr RollVariant kAvx2{"avx2", avx2_roll};

#endif  // __x86_64__

const RollVariant& chosen() {
  static const RollVariant& variant =
      choose_variant<RollVariant>("search for blocks", roll_variants(), roll_agrees);
  return variant;
}

}  // namespace

std::span<const RollVariant* const> roll_variants() {
#ifdef __x86_64__
  static constexpr const RollVariant* kAll[] = {&kAvx2, &kScalar};
  return std::span(kAll).subspan(__builtin_cpu_supports("avx2") ? 0 : 1);
#else
  static constexpr const RollVariant* kAll[] = {&kScalar};
  return kAll;
#endif
}

bool roll_agrees(const RollVariant& variant, const RollVariant& twin) {
  constexpr size_t kTestBytes = 4096;
  constexpr uint32_t kTestWindow = 700;
  constexpr unsigned kTestWordBits = 6;
  std::vector<std::byte> bytes(kTestBytes);
  std::vector<uint32_t> words(size_t{1} << kTestWordBits);
  uint32_t value = 1;
  const auto next = [&value] { return value = value * 1664525 + 1013904223; };
  for (std::byte& b : bytes) b = static_cast<std::byte>(next() >> 24);
  for (uint32_t& word : words) {
    // Few bits, so that it does not stop at each place.
    const uint32_t bits = next();
    word = bits & bits << 5 & bits >> 7;
  }
  RollingWindow ours{bytes.data(), kTestWindow, 0, 0};
  RollingWindow theirs = ours;
  while (true) {
    const size_t left = static_cast<size_t>(bytes.data() + bytes.size() - theirs.data) - kTestWindow;
    if (left == 0) return true;
    variant.roll(words.data(), kTestWordBits, ours, left);
    twin.roll(words.data(), kTestWordBits, theirs, left);
    if (ours.data != theirs.data || ours.s1 != theirs.s1 || ours.s2 != theirs.s2) return false;
  }
}

std::string_view roll_variant_name() {
  return chosen().name;
}

SumFilter::SumFilter(size_t blocks)
    : words_(std::clamp(std::bit_ceil(blocks * kBitsPerBlock >> kWordLog), kMinWords, kMaxWords)) {
  word_bits_ = static_cast<unsigned>(std::bit_width(words_.size() - 1));
}

void SumFilter::add(uint32_t rolling) {
  constexpr uint32_t kTop = uint32_t{1} << 31;
  const Place place = place_of(rolling, word_bits_);
  words_[place.word] |= kTop >> place.first | kTop >> place.second;
}

bool SumFilter::may_have(uint32_t rolling) const {
  return may_have_sum(words_.data(), word_bits_, rolling);
}

void SumFilter::roll(RollingWindow& window, size_t most) const {
  chosen().roll(words_.data(), word_bits_, window, most);
}

}  // namespace rsyncfs
