// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/xxh.h"

#include <new>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io/base/result.h"
#include "io/base/simd.h"
#include "io/base/xxh_variants.h"

namespace rsyncfs {
namespace {

const XxhVariant& chosen() {
  static const XxhVariant& variant = choose_variant<XxhVariant>("XXH3", xxh_variants(), xxh_agrees);
  return variant;
}

// Of the seed that this thread used last: nearly all are of one session.
const XxhSeed& seed_of(uint64_t value) {
  static thread_local XxhSeed seed = make_xxh_seed(0);
  if (seed.value != value) seed = make_xxh_seed(value);
  return seed;
}

const void* start_of(std::span<const std::byte> data) {
  static constexpr std::byte kNothing{};
  const std::byte* start = data.empty() ? &kNothing : data.data();
  RSYNCFS_CHECK(start != nullptr);
  return start;
}

// One length or more of each way in which XXH3 treats data: by tables of a few bytes, by stripes of 64, by
// blocks of 1024.
constexpr size_t kTestLengths[] = {0,   1,   3,   4,   8,    9,    16,   17,   128,  129,
                                   240, 241, 256, 512, 1023, 1024, 1025, 2048, 4099, 16384};
constexpr size_t kLongestTest = 16384;
constexpr size_t kTestPieces[] = {1, 63, 256, 1000};
constexpr uint64_t kTestSeeds[] = {0, 0x9e3779b97f4a7c15};

bool same_hashes(const XxhVariant& variant, const XxhVariant& twin, std::span<const std::byte> data,
                 const XxhSeed& seed) {
  Xxh128 ours;
  Xxh128 theirs;
  variant.hash_128(data.data(), data.size(), seed, &ours.low, &ours.high);
  twin.hash_128(data.data(), data.size(), seed, &theirs.low, &theirs.high);
  return ours == theirs &&
         variant.hash_64(data.data(), data.size(), seed) == twin.hash_64(data.data(), data.size(), seed);
}

XXH128_hash_t hash_in_pieces(const XxhVariant& variant, std::span<const std::byte> data, size_t piece) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  while (!data.empty()) {
    const auto part = data.first(std::min(piece, data.size()));
    variant.update(&state, part.data(), part.size());
    data = data.subspan(part.size());
  }
  return XXH3_128bits_digest(&state);
}

}  // namespace

std::span<const XxhVariant* const> xxh_variants() {
#ifdef __x86_64__
  static constexpr const XxhVariant* kAll[] = {&kXxhAvx2, &kXxhNative, &kXxhScalar};
  return std::span(kAll).subspan(__builtin_cpu_supports("avx2") ? 0 : 1);
#else
  static constexpr const XxhVariant* kAll[] = {&kXxhNative, &kXxhScalar};
  return kAll;
#endif
}

XxhSeed make_xxh_seed(uint64_t value) {
  XxhSeed seed;
  seed.value = value;
  XXH3_generateSecret_fromSeed(seed.secret, value);
  return seed;
}

bool xxh_agrees(const XxhVariant& variant, const XxhVariant& twin) {
  // One byte off, so that nothing is aligned.
  std::vector<std::byte> bytes(kLongestTest + 1);
  uint32_t value = 1;
  for (std::byte& b : bytes) {
    value = value * 1664525 + 1013904223;
    b = static_cast<std::byte>(value >> 24);
  }
  const auto data = std::span<const std::byte>(bytes).subspan(1);
  for (const uint64_t seed_value : kTestSeeds) {
    const XxhSeed seed = make_xxh_seed(seed_value);
    for (const size_t length : kTestLengths) {
      if (!same_hashes(variant, twin, data.first(length), seed)) return false;
    }
  }
  for (const size_t piece : kTestPieces) {
    const XXH128_hash_t ours = hash_in_pieces(variant, data, piece);
    const XXH128_hash_t theirs = hash_in_pieces(twin, data, piece);
    if (!XXH128_isEqual(ours, theirs)) return false;
  }
  return true;
}

std::string_view xxh_variant_name() {
  return chosen().name;
}

uint64_t xxh3_64(std::span<const std::byte> data, uint64_t seed) {
  return chosen().hash_64(start_of(data), data.size(), seed_of(seed));
}

Xxh128 xxh3_128(std::span<const std::byte> data, uint64_t seed) {
  Xxh128 out;
  chosen().hash_128(start_of(data), data.size(), seed_of(seed), &out.low, &out.high);
  return out;
}

uint64_t xxh64(std::span<const std::byte> data, uint64_t seed) {
  return XXH64(start_of(data), data.size(), seed);
}

void Xxh3State::reset() {
  static_assert(sizeof(XXH3_state_t) == sizeof state_ && alignof(XXH3_state_t) == alignof(Xxh3State));
  XXH3_128bits_reset(new (state_.data()) XXH3_state_t);
}

void Xxh3State::update(std::span<const std::byte> data) {
  if (!data.empty()) chosen().update(state_.data(), data.data(), data.size());
}

uint64_t Xxh3State::digest_64() const {
  return XXH3_64bits_digest(std::launder(reinterpret_cast<const XXH3_state_t*>(state_.data())));
}

Xxh128 Xxh3State::digest_128() const {
  const XXH128_hash_t hash =
      XXH3_128bits_digest(std::launder(reinterpret_cast<const XXH3_state_t*>(state_.data())));
  return {hash.low64, hash.high64};
}

Xxh64State::Xxh64State() {
  static_assert(sizeof(XXH64_state_t) == sizeof state_ && alignof(XXH64_state_t) == alignof(Xxh64State));
  XXH64_reset(new (state_.data()) XXH64_state_t, 0);
}

void Xxh64State::update(std::span<const std::byte> data) {
  if (data.empty()) return;
  XXH64_update(std::launder(reinterpret_cast<XXH64_state_t*>(state_.data())), data.data(), data.size());
}

uint64_t Xxh64State::digest() const {
  return XXH64_digest(std::launder(reinterpret_cast<const XXH64_state_t*>(state_.data())));
}

}  // namespace rsyncfs
