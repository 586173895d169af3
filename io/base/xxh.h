// SPDX-License-Identifier: GPL-3.0-or-later
// XXH3 (64 and 128 bits) and XXH64 by the vector unit that the processor has. Source: xxhash.h of libxxhash,
// compiled into each variant; its shared library would be called once for each piece and knows SSE2 alone.
// Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace rsyncfs {

struct Xxh128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Xxh128&) const = default;
};

// An empty span need not point anywhere.
uint64_t xxh3_64(std::span<const std::byte> data, uint64_t seed = 0);
Xxh128 xxh3_128(std::span<const std::byte> data, uint64_t seed = 0);
uint64_t xxh64(std::span<const std::byte> data, uint64_t seed = 0);

// The same in pieces, unseeded. One thread at a time.
class Xxh3State {
 public:
  Xxh3State() { reset(); }
  void reset();
  void update(std::span<const std::byte> data);
  uint64_t digest_64() const;  // of what came so far; more may follow
  Xxh128 digest_128() const;

 private:
  alignas(64) std::array<std::byte, 576> state_;  // XXH3_state_t
};

class Xxh64State {
 public:
  Xxh64State();
  void update(std::span<const std::byte> data);
  uint64_t digest() const;

 private:
  alignas(8) std::array<std::byte, 88> state_;  // XXH64_state_t
};

// The variant of XXH3 in use. The first call, or the first sum, compares those that the processor can run
// with the scalar one (io/base/simd.h).
std::string_view xxh_variant_name();

}  // namespace rsyncfs
