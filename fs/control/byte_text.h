// SPDX-License-Identifier: GPL-3.0-or-later
// Paths are bytes, JSON strings are UTF-8: how one is written in the other without loss.
#pragma once

#include <string>
#include <string_view>

#include "io/base/result.h"

namespace rsyncfs {

// Valid UTF-8 as it is; a byte that is not part of it as \ooo (octal), a backslash doubled.
std::string bytes_to_text(std::string_view bytes);
// The reverse. kUsage for a backslash that begins neither form.
Result<std::string> text_to_bytes(std::string_view text);

}  // namespace rsyncfs
