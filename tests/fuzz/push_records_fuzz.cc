// SPDX-License-Identifier: GPL-3.0-or-later
// What the engine keeps in the store of a push under way: whatever is read means the same when it is written
// again, and names nothing to be cleared away but our own spare names.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/result.h"
#include "sync/engine/push_journal.h"
#include "sync/engine/sent_versions.h"
#include "sync/engine/spare_names.h"
#include "tests/engine/push_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string sent = rsyncfs::SentVersions::parse(text).serialize();
  RSYNCFS_CHECK(rsyncfs::SentVersions::parse(sent).serialize() == sent);
  const rsyncfs::PendingModel pending;
  const auto batch = rsyncfs::decode_batch(text, pending);
  if (!batch) return 0;
  RSYNCFS_CHECK(batch->spare.empty() || rsyncfs::is_spare_name(batch->spare));
  const std::string encoded = rsyncfs::encode_batch(*batch);
  const auto again = rsyncfs::decode_batch(encoded, pending);
  RSYNCFS_CHECK(again && rsyncfs::encode_batch(*again) == encoded);
  return 0;
}
