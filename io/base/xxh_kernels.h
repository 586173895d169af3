// SPDX-License-Identifier: GPL-3.0-or-later
// What a variant consists of. Each unit that includes this compiles XXH3 for its own vector unit.
#pragma once

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "io/base/xxh_variants.h"

namespace rsyncfs {
namespace {

static_assert(kXxhSecretBytes == XXH3_SECRET_DEFAULT_SIZE);

// g++ 12 forgets it in what it has inlined all of this into, and then code for SSE that follows takes longer
// than the hash.
inline void leave_vector_unit() {
#ifdef __AVX__
  _mm256_zeroupper();
#endif
}

uint64_t hash_64(const void* data, size_t size, const XxhSeed& seed) {
  const uint64_t hash =
      XXH3_64bits_withSecretandSeed(data, size, seed.secret, sizeof seed.secret, seed.value);
  leave_vector_unit();
  return hash;
}

void hash_128(const void* data, size_t size, const XxhSeed& seed, uint64_t* low, uint64_t* high) {
  const XXH128_hash_t hash =
      XXH3_128bits_withSecretandSeed(data, size, seed.secret, sizeof seed.secret, seed.value);
  *low = hash.low64;
  *high = hash.high64;
  leave_vector_unit();
}

// For digests of both lengths.
void update(void* state, const void* data, size_t size) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state), data, size);
  leave_vector_unit();
}

}  // namespace
}  // namespace rsyncfs
