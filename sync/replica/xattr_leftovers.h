// SPDX-License-Identifier: GPL-3.0-or-later
// Values of extended attributes that no set has any more, because users or the source gave the attribute
// another.
#pragma once

#include <cstdint>

#include "io/base/result.h"
#include "sync/replica/database.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// Used by one thread.
class XattrLeftovers {
 public:
  explicit XattrLeftovers(Writer& writer) : writer_(writer) {}

  // Removes them, if so many values were stored since the last time that half of all may be of no use. `db`
  // is in no transaction. A value that belongs to a local change never goes: its set is there, or it is
  // stored anew with one.
  Result<void> sweep(Connection& db);

 private:
  Result<bool> is_due(Connection& db);

  Writer& writer_;
  uint64_t next_ = 0;    // the sweep goes on after this row
  uint64_t newest_ = 0;  // row when it last came to the end
  uint64_t live_ = 0;    // values of use that it has met since its beginning
};

}  // namespace rsyncfs
