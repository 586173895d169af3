// SPDX-License-Identifier: GPL-3.0-or-later
// One question to the daemon of a mount.
#pragma once

#include <string>

#include "fs/control/client.h"

namespace rsyncfs {

// Longer than any answer that does not wait for the source.
constexpr int kConnectLimitMs = 5'000;
constexpr int kAnswerLimitMs = 10'000;
// What `info`, and `flush` of a path, wait between two answers: a directory may have to be listed first,
// within timeout=.
constexpr int kSourceAnswerLimitMs = 24 * 3600 * 1000;

// The answer's document (kDone). A refusal of the daemon is an Error of kind kOther with its reason.
Result<std::string> ask_document(const FoundMount& mount, const ControlRequest& request, int answer_limit_ms);

}  // namespace rsyncfs
