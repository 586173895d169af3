// SPDX-License-Identifier: GPL-3.0-or-later
// How the words of a command line are taken apart into options and the rest.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "fs/cli/command_line.h"
#include "io/base/result.h"

namespace rsyncfs {

using Words = std::vector<std::string>;

// The words that are no options, or what is to be shown instead.
struct Parsed {
  std::optional<ShowText> shown;
  Words words;
};

// "allow_other" -> "--allow-other".
std::string long_flag(std::string_view name);
Error one_too_many(const std::string& word);

// The library does the options only: it would make a list of a word like "[a,b]". kUsage, in one line.
Result<Parsed> run_parser(CLI::App& app, Words words, const std::function<std::string()>& help);
// A verb, whose help comes from the library, and which takes from `least` to `most` words.
Result<Parsed> run_verb(CLI::App& app, const Words& words, std::string_view noun, size_t least, size_t most);

}  // namespace rsyncfs
