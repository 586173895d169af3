// SPDX-License-Identifier: GPL-3.0-or-later
// Records of the store's journal: whatever is read has one way of being written, and that is what was read.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "io/base/result.h"
#include "sync/replica/journal_records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto record = rsyncfs::decode_journal_record(bytes);
  RSYNCFS_CHECK(!record || rsyncfs::encode(*record) == bytes);
  return 0;
}
