// SPDX-License-Identifier: GPL-3.0-or-later
// Sets of extended attributes, each stored once however many nodes have it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/types.h"

namespace rsyncfs {

std::string encode_xattrs(const StoredXattrs& xattrs);
// kCorrupt when the bytes are not what encode_xattrs() makes.
Result<StoredXattrs> decode_xattrs(std::string_view items);
Result<StoredXattrs> read_xattr_set(Connection& db, uint64_t set);

// With the writer only.
class XattrSets {
 public:
  // The number of the set, made if needed; 0 for none.
  Result<uint64_t> intern(Connection& db, const StoredXattrs* xattrs);
  // A set that nobody uses any more is removed.
  Result<void> add_uses(Connection& db, uint64_t set, int64_t by);
  // After a rollback: what was remembered may not be there.
  void forget();

 private:
  static constexpr size_t kMaxRememberedBytes = 256 * 1024;
  size_t remembered_bytes_ = 0;
  std::unordered_map<std::string, uint64_t> remembered_;
};

}  // namespace rsyncfs
