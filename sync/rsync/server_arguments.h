// SPDX-License-Identifier: GPL-3.0-or-later
// What the command lines of an `rsync --server` of either role share. Source: rsync's options.c,
// server_options().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/session_config.h"

namespace rsyncfs {

// Symlink times, iconv of symlinks, safe lists, no xattr optimisation, seed order, in-place partials, varint
// flags with negotiation, names of id 0.
constexpr std::string_view kCapabilities = "e.LsfxCIvu";
// And incremental lists. Only where names are all that is wanted: contents can be had from the newest lists
// only.
constexpr std::string_view kPagingCapabilities = "e.iLsfxCIvu";

// Errc::kUsage for what cannot be put on the wire: NUL bytes, over-long names, a module with '/' or a line
// break.
Result<void> validate_session_config(const SessionConfig& config);

// `root` without empty and "." components and without trailing slashes; "/" stays.
std::string clean_root(std::string_view root);
// config.root so, and relative to the module.
void clean_session_root(SessionConfig& config);

// Compression, checksum, timeout, seed, ids.
void add_common_options(const SessionConfig& config, std::vector<std::string>& out);
// "OPTIONVALUE".
void add_number(std::vector<std::string>& out, std::string_view option, int value);

// `root` below `module` as the one path argument to a daemon: "module/root/", wildcards literal.
std::string daemon_path(std::string_view module, std::string_view root);
// `root` as the one path argument on a command line, never an option: "./", "/a/b/".
std::string shell_path(std::string_view root);

}  // namespace rsyncfs
