// SPDX-License-Identifier: GPL-3.0-or-later
// The command lines of the verbs that are not `mount`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/cli/command_line.h"

namespace rsyncfs {

// The verb that resembles this word, which is none; "" if none does.
std::string nearest_verb(const std::string& word);
// nullopt: there is no such verb. kUsage, in one line.
std::optional<Result<Command>> parse_verb(const std::string& verb, const std::vector<std::string>& words);

}  // namespace rsyncfs
