// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace rsyncfs::support {

// A test's surroundings could not be made. This library throws it, and nothing else, because GoogleTest
// reports a thrown exception, with its text, as the failure of the running test: no test can go on by
// mistake.
class SetupFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail_setup(const std::string& what) {
  throw SetupFailure(what);
}
// "WHAT: strerror(errno)"
[[noreturn]] inline void fail_setup_errno(const std::string& what) {
  throw SetupFailure(what + ": " + std::strerror(errno));
}

}  // namespace rsyncfs::support
