// SPDX-License-Identifier: GPL-3.0-or-later
// libfuse's low-level interface, in the oldest form we accept. Only fs/fuse/*.cc include this.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>
