// SPDX-License-Identifier: GPL-3.0-or-later
// What a benchmark cannot go on without.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "io/base/result.h"

namespace rsyncfs {

inline void must(const Result<void>& result) {
  if (result) return;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::abort();
}

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message().c_str());
    std::abort();
  }
  return std::move(result).value();
}

}  // namespace rsyncfs
