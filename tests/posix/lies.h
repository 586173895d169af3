// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/posix/calls.h"

namespace rsyncfs::posix_tests {

// Which checkers must notice a lie.
struct LieKind {
  std::string_view name;    // says what the file system does wrong
  std::string_view parity;  // a case of posix_parity that does
  bool contents = false;    // whether fsx_like does
  bool tree = false;        // whether random_tree does
  bool needs_root = false;  // an ordinary user never sees it
};

// File systems that err in one way each, over a real one: what shows that the checkers check.
const std::vector<LieKind>& lie_kinds();
// Null if there is none of the name.
std::unique_ptr<Calls> make_lie(std::string_view name);

}  // namespace rsyncfs::posix_tests
