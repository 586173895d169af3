// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>

namespace rsyncfs {

// How open(2) is treated; chosen per mount because the kernel learns it once.
enum class OpenProfile : uint8_t {
  kNoOpen,       // open, flush and release never reach us: warm small files are as on a local disk
  kKeepCache,    // every open is a request; the page cache is kept
  kPassthrough,  // likewise, and the kernel reads large files from the store by itself
};

}  // namespace rsyncfs
