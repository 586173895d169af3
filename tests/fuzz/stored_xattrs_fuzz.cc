// SPDX-License-Identifier: GPL-3.0-or-later
// The stored form of a set of extended attributes: what is accepted has exactly one form.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/base/result.h"
#include "sync/replica/xattr_sets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto xattrs = rsyncfs::decode_xattrs(bytes);
  if (xattrs) RSYNCFS_CHECK(rsyncfs::encode_xattrs(*xattrs) == bytes);
  return 0;
}
