// SPDX-License-Identifier: GPL-3.0-or-later
// XXH3 as each vector unit computes it: for io/base/xxh.cc, tests and benchmarks. Not more than these
// headers: inline functions of a unit that is compiled for AVX2 could be linked for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rsyncfs {

constexpr size_t kXxhSecretBytes = 192;

// What XXH3 derives from a seed. To do that anew for each block of 700 bytes takes longer than its hash.
struct XxhSeed {
  uint64_t value;
  alignas(64) unsigned char secret[kXxhSecretBytes];
};
XxhSeed make_xxh_seed(uint64_t value);

struct XxhVariant {
  const char* name;
  uint64_t (*hash_64)(const void* data, size_t size, const XxhSeed& seed);
  void (*hash_128)(const void* data, size_t size, const XxhSeed& seed, uint64_t* low, uint64_t* high);
  void (*update)(void* state, const void* data, size_t size);  // of an XXH3_state_t
};

extern const XxhVariant kXxhScalar;
extern const XxhVariant kXxhNative;  // what every processor of this kind has: SSE2, NEON
#ifdef __x86_64__
extern const XxhVariant kXxhAvx2;
#endif

// Those that this processor can run, the fastest first, kXxhScalar last.
std::span<const XxhVariant* const> xxh_variants();
// Whether both compute the same of fixed data.
bool xxh_agrees(const XxhVariant& variant, const XxhVariant& twin);

}  // namespace rsyncfs
