// SPDX-License-Identifier: GPL-3.0-or-later
// What a server's words mean: its refusals and error messages as Errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/base/result.h"

namespace rsyncfs {

// The errno in a message that ends in "(N)", 0 if there is none.
int trailing_errno(std::string_view text);

// Whether `text` only announces an exit code ("rsync error: ... (code N) at ...") and says nothing of its
// cause.
bool is_exit_summary(std::string_view text);
// The code it announces; nothing if that is no failure.
std::optional<int> exit_summary_code(std::string_view text);

// A message that ended a conversation, or kept it from starting. Control bytes are escaped in the result.
// kAuth, kNotFound, kNotDirectory, kPermission, kRefused, kUnsupported, kTimedOut, kLimit, kOs; `otherwise`
// if none fits.
Error session_error(std::string_view text, Errc otherwise);

// Why one file was not sent: kVanished, kPermission, kChanged (it is not the regular file it was, or
// shorter), kOs.
Error file_error(std::string_view text);

// What rsync's exit code says when no text came with it.
Errc exit_code_kind(int code);

// Whether the server ended because of its connection, a signal or its patience: no news about the source.
bool is_connection_exit(int code);

// Text of a server as it may be shown: shortened, control bytes escaped.
std::string shown_text(std::string_view text);

}  // namespace rsyncfs
