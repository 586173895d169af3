// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/base/xxh_kernels.h"

namespace rsyncfs {
#if XXH_VECTOR == XXH_SSE2
const XxhVariant kXxhNative{"sse2", hash_64, hash_128, update};
#else
const XxhVariant kXxhNative{"native", hash_64, hash_128, update};
#endif
}  // namespace rsyncfs
