// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/posix/probe.h"

namespace rsyncfs::posix_tests {

// The same calls in two directories; every result has to agree.
struct ParityCase {
  std::string_view name;  // GROUP/CASE
  void (*run)(Probe&);
  bool needs_root = false;
};

// Those of one group each.
std::span<const ParityCase> creation_cases();
std::span<const ParityCase> name_cases();
std::span<const ParityCase> rename_cases();
std::span<const ParityCase> attribute_cases();
std::span<const ParityCase> permission_cases();
std::span<const ParityCase> contents_cases();
std::span<const ParityCase> range_cases();
std::span<const ParityCase> xattr_cases();
std::span<const ParityCase> directory_cases();
std::span<const ParityCase> lock_cases();
std::vector<ParityCase> parity_cases();

struct ParityOptions {
  std::string native;  // on a local file system
  std::string tested;
  Calls* tested_calls = nullptr;  // null: the real ones
  std::string only;               // cases whose names contain it
};

struct ParityOutcome {
  enum class Kind {
    kSame,
    kDiffers,
    kRefused,        // the tested directory does not offer it, and said so
    kNotComparable,  // the native one does not
    kNeedsRoot,
  };
  std::string name;
  Kind kind = Kind::kSame;
  std::string details;  // line by line what differs, or what was refused
};

// Runs each case in a new subdirectory of both, which is removed afterwards, in a process of its own
// (forked.h). Both directories must let other users through. Throws SetupFailure if the native one does not
// do.
std::vector<ParityOutcome> compare_directories(const ParityOptions& options);

std::string_view kind_name(ParityOutcome::Kind kind);

}  // namespace rsyncfs::posix_tests
