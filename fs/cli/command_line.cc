// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/command_line.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "fs/cli/usage.h"
#include "fs/cli/verb_lines.h"
#include "fs/cli/word_parser.h"

namespace rsyncfs {
namespace {

// One option of the command line whose values are looked at in the order in which they were typed.
struct TypedOption {
  CLI::Option* option;
  std::string name;  // of the table; "": a whole list (-o)
  bool takes_value;
  Words unused;  // the library wants a place for the values
};
using TypedOptions = std::deque<TypedOption>;  // the library keeps pointers

void add_typed_option(CLI::App& app, TypedOptions& typed, const std::string& flag, const OptionSpec* spec) {
  TypedOption& added = typed.emplace_back();
  added.name = spec == nullptr ? "" : spec->name;
  added.takes_value = spec == nullptr || !spec->argument.empty();
  if (added.takes_value) {
    added.option = app.add_option(flag, added.unused)
                       ->expected(1)
                       ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
                       ->allow_extra_args(false);
  } else {
    added.option = app.add_flag(flag, added.unused)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
}

// Order matters: of two that contradict each other the last one counts, of filters the first.
Result<void> apply_in_order(const CLI::App& app, TypedOptions& typed, MountOptions& options) {
  std::map<const CLI::Option*, size_t> used;
  for (const CLI::Option* option : app.parse_order()) {
    const auto found = std::find_if(typed.begin(), typed.end(), [option](const TypedOption& candidate) {
      return candidate.option == option;
    });
    if (found == typed.end()) continue;
    const size_t index = used[option]++;
    if (index >= option->results().size()) continue;
    const std::string& value = option->results()[index];
    Result<void> applied;
    if (found->name.empty()) {
      applied = apply_option_list(options, value);
    } else if (found->takes_value || value != "true") {
      applied = apply_option(options, found->name, value);
    } else {
      applied = apply_option(options, found->name, std::nullopt);
    }
    if (!applied) return applied;
  }
  return {};
}

Error unknown_verb(const std::string& word) {
  const std::string near = nearest_verb(word);
  return Error(Errc::kUsage, "'" + word + "' is neither a command nor a SOURCE" +
                                 (near.empty() ? " (rsync://host/module, host::module or host:path)"
                                               : "; did you mean '" + near + "'?"));
}

Result<Command> parse_mount(const Words& words) {
  CLI::App app;
  TypedOptions typed;
  MountRequest request;
  int verbose = 0;
  int quiet = 0;
  app.add_flag("-f,--foreground", request.foreground);
  app.add_flag("-d,--debug", request.debug);
  app.add_flag("-v,--verbose", verbose);
  app.add_flag("-q,--quiet", quiet);
  add_typed_option(app, typed, "-o", nullptr);
  for (const OptionGroup& group : option_groups()) {
    for (const OptionSpec& spec : group.options) add_typed_option(app, typed, long_flag(spec.name), &spec);
  }
  const Result<Parsed> parsed = run_parser(app, words, mount_help);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  const Words& positional = parsed->words;
  // Nothing without a ':' is a source; so it was to be a verb.
  if (!positional.empty() && positional[0].find(':') == std::string::npos) return unknown_verb(positional[0]);
  if (positional.size() > 2) return one_too_many(positional[2]);
  if (positional.size() < 2) {
    return Error(Errc::kUsage,
                 std::string(positional.empty() ? "SOURCE and MOUNTPOINT are" : "MOUNTPOINT is") +
                     " missing; see rsyncfs --help");
  }
  request.source = positional[0];
  request.mountpoint = positional[1];
  request.verbosity = verbose - quiet;
  if (const Result<void> applied = apply_in_order(app, typed, request.options); !applied)
    return applied.error();
  return Command(std::move(request));
}

}  // namespace

Result<Command> parse_command_line(const Words& words) {
  if (words.empty()) return parse_mount(words);
  const Words rest(words.begin() + 1, words.end());
  if (words.front() == "mount") return parse_mount(rest);
  if (std::optional<Result<Command>> command = parse_verb(words.front(), rest)) return std::move(*command);
  return parse_mount(words);
}

}  // namespace rsyncfs
