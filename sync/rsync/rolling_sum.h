// SPDX-License-Identifier: GPL-3.0-or-later
// The rolling sum of a block, by the vector unit that the processor has. Source: rsync's checksum.c,
// get_checksum1(). Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rsyncfs {

// Of n bytes b taken as signed: s1 is their sum, s2 the sum of (n - i) * b[i]; s1 & 0xffff | s2 << 16.
uint32_t rolling_sum(std::span<const std::byte> block);

struct RollingSumVariant {
  const char* name;
  uint32_t (*sum)(const std::byte* data, size_t size);
};

// Those that this processor can run, the fastest first, the scalar one last: for tests and benchmarks.
std::span<const RollingSumVariant* const> rolling_sum_variants();
// Whether both compute the same of fixed data.
bool rolling_sum_agrees(const RollingSumVariant& variant, const RollingSumVariant& twin);
// The variant in use. The first call, or the first sum, compares them (io/base/simd.h).
std::string_view rolling_sum_variant_name();

}  // namespace rsyncfs
