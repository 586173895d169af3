// SPDX-License-Identifier: GPL-3.0-or-later
// What is done without an option that the server refuses ("refuse options" of a daemon, a restricted shell,
// an older rsync). The table for users is in fs/SEMANTICS.md.
#pragma once

#include <optional>
#include <string>

#include "io/base/result.h"
#include "sync/engine/session_settings.h"

namespace rsyncfs {

// `why`: a session's end. If the option can be done without from now on: what that means, for the log.
// nullopt: it says nothing of the kind, or that was known.
std::optional<std::string> give_up_refused(const Error& why, ServerFeatures& features);

}  // namespace rsyncfs
