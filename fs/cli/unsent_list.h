// SPDX-License-Identifier: GPL-3.0-or-later
// The changes that a daemon could not send, as it names them one by one.
#pragma once

#include <string>
#include <vector>

#include "fs/control/protocol.h"

namespace rsyncfs {

class UnsentList {
 public:
  void add(const ControlAnswer& named) { lines_.push_back(named.path + ": " + named.reason); }
  // HEAD to standard error, a line for each of them, "..." when more may be left.
  void tell(const std::string& head) const;

 private:
  std::vector<std::string> lines_;
};

}  // namespace rsyncfs
