// SPDX-License-Identifier: GPL-3.0-or-later
// How modes of the source are changed before they are shown, in the words of rsync's --chmod (rsync(1),
// chmod(1)).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

class ModeChanges {
 public:
  // "Dg+s,ug+w,Fo-w,+X", "D2755,F644"; as rsync's repeated --chmod they come after those that are there.
  // `umask` is for clauses that say of nobody. kUsage; nothing is added then.
  Result<void> add(std::string_view text, uint32_t umask);
  bool empty() const { return clauses_.empty(); }
  // Of `mode` with its type; a symbolic link's stays.
  uint32_t apply(uint32_t mode) const;

 private:
  enum class Op : uint8_t { kGive, kTake };
  struct Clause {
    bool directories = true;
    bool others = true;
    Op op = Op::kGive;
    uint32_t cleared = 0;      // before anything is set
    uint32_t bits = 0;         // set or taken
    bool conditional = false;  // 'X': execute bits of `bits` only where somebody has one already
    unsigned copied = 0;       // shift of the class whose permissions are meant besides; kNoCopy: none
    uint32_t copied_to = 0;    // as 0111: once for each class
    uint32_t copy_mask = 0;
  };
  static constexpr unsigned kNoCopy = 32;
  class Parser;

  std::vector<Clause> clauses_;
};

}  // namespace rsyncfs
