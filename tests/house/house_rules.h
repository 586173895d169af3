// SPDX-License-Identifier: GPL-3.0-or-later
// The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can check.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rsyncfs::house {

// All paths are relative to the top of the project. Each complaint is one line, "PATH:LINE: what" or "PATH:
// what".
using Complaints = std::vector<std::string>;

// What a file belongs to by its folder: "io/base", "io", "sync/engine", "tests", ... Empty: none.
std::string_view box_of(std::string_view path);
// Program text, as opposed to documents, data and configuration.
bool is_source(std::string_view path, std::string_view text);

Complaints check_licence(std::string_view path, std::string_view text);
Complaints check_includes(std::string_view path, std::string_view text);
Complaints check_length(std::string_view path, std::string_view text);
Complaints check_leftovers(std::string_view path, std::string_view text);
Complaints check_top_level(std::string_view path);

// The files git knows, or all outside build/ and .git where there is no checkout.
std::vector<std::string> project_files(const std::string& top);

}  // namespace rsyncfs::house
