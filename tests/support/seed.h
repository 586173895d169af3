// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace rsyncfs::support {

// The seed of a test that draws at random: $RSYNCFS_SEED if set, else a new one. It is printed as the
// assignment that replays it, before anything can go wrong.
inline uint64_t test_seed() {
  const char* given = std::getenv("RSYNCFS_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("RSYNCFS_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

}  // namespace rsyncfs::support
