// SPDX-License-Identifier: GPL-3.0-or-later
// What `verify` came to, as the daemon tells it and the verb says it. Reference: fs/control/PROTOCOL.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/base/result.h"

namespace rsyncfs {

// Files, but for bytes.
struct VerifyTotals {
  uint64_t checked = 0;  // all that is here of them was read
  uint64_t checked_bytes = 0;
  uint64_t damaged = 0;   // of these
  uint64_t restored = 0;  // of the damaged ones: fetched again
  uint64_t lost = 0;      // what users changed, or nobody else has, cannot be read
  uint64_t failed = 0;    // paths that could not be looked at

  bool remote = false;  // they were compared with the source; otherwise the rest is 0
  uint64_t equal = 0;
  uint64_t equal_bytes = 0;
  uint64_t differing = 0;
  uint64_t changed = 0;       // at the source, while they were compared
  uint64_t uncompared = 0;    // the source did not answer, or cannot be asked
  uint64_t partly_here = 0;   // not compared
  uint64_t not_here = 0;      // nothing to compare
  uint64_t changed_here = 0;  // the source has another version
  uint64_t sent_bytes = 0;    // by the mount meanwhile
  uint64_t received_bytes = 0;

  bool operator==(const VerifyTotals&) const = default;
  // Nothing is damaged any more, and nothing that was compared differs.
  bool all_well() const {
    return damaged == restored && lost == 0 && failed == 0 && differing == 0 && uncompared == 0;
  }
};

std::string verify_json(const VerifyTotals& totals);
Result<VerifyTotals> parse_verify_totals(std::string_view document);

}  // namespace rsyncfs
