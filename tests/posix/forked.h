// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace rsyncfs::posix_tests {

struct Told {
  std::string out;     // what the body returned; empty unless it came to its end
  std::string ending;  // "" if it did, else how it ended: a signal, or the limit
};

// Runs the body in a child process that shares nothing with the caller but what it inherits, and is killed at
// the limit. A child that cannot be killed, as in an unending system call, is left behind. For a process
// without other threads, or whose others hold no lock that the body needs.
Told run_forked(const std::function<std::string()>& body, std::chrono::milliseconds limit);

}  // namespace rsyncfs::posix_tests
