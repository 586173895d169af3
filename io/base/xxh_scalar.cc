// SPDX-License-Identifier: GPL-3.0-or-later
#define XXH_VECTOR 0  // XXH_SCALAR
#include "io/base/xxh_kernels.h"

namespace rsyncfs {
const XxhVariant kXxhScalar{"scalar", hash_64, hash_128, update};
}  // namespace rsyncfs
