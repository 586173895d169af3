// SPDX-License-Identifier: GPL-3.0-or-later
// Compiled with -mavx2 (io/CMakeLists.txt).
#ifdef __x86_64__
// At this speed memory is what is waited for.
#define XXH_PREFETCH_DIST 2048
#include "io/base/xxh_kernels.h"

static_assert(XXH_VECTOR == XXH_AVX2);

namespace rsyncfs {
const XxhVariant kXxhAvx2{"avx2", hash_64, hash_128, update};
}  // namespace rsyncfs
#endif
