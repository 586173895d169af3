// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/command_line.h"

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include "fs/cli/usage.h"
#include "fs/daemon/version.h"

namespace rsyncfs {
namespace {

using Words = std::vector<std::string>;

constexpr int kLongestTimeout = 86'400;

// "--allow_other=x" -> "--allow-other=x": the library knows one spelling.
Words with_dashes(Words words) {
  for (std::string& word : words) {
    if (word == "--") break;
    if (word.size() < 3 || word.compare(0, 2, "--") != 0) continue;
    const auto end = word.begin() + static_cast<ptrdiff_t>(std::min(word.find('='), word.size()));
    std::replace(word.begin() + 2, end, '_', '-');
  }
  return words;
}

std::string long_flag(std::string_view name) {
  std::string flag(name);
  std::replace(flag.begin(), flag.end(), '_', '-');
  // A name may begin with '_', a flag with no third '-'.
  flag.erase(0, flag.find_first_not_of('-'));
  return "--" + flag;
}

Error one_too_many(const std::string& word) {
  return Error(Errc::kUsage, "one word too many: '" + word + "'");
}

Error unknown_option(const std::string& word) {
  std::string near;
  if (word.compare(0, 2, "--") == 0) near = nearest_option(word.substr(2, word.find('=') - 2));
  return Error(Errc::kUsage, "unknown option '" + word.substr(0, word.find('=')) + "'" +
                                 (near.empty() ? "" : "; did you mean '" + long_flag(near) + "'?"));
}

// The words that are no options, or what is to be shown instead.
struct Parsed {
  std::optional<ShowText> shown;
  Words words;
};

// The library does the options only: it would make a list of a word like "[a,b]".
Result<Parsed> run_parser(CLI::App& app, Words words, const std::function<std::string()>& help) {
  app.allow_extras();
  app.set_help_flag("-h,--help", "this text");
  app.set_version_flag("-V,--version", std::string(version()), "the version");
  words = with_dashes(std::move(words));
  std::reverse(words.begin(), words.end());  // it takes them from the back
  try {
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    return Parsed{ShowText{help()}, {}};
  } catch (const CLI::CallForVersion&) {
    return Parsed{ShowText{"rsyncfs " + std::string(version()) + "\n"}, {}};
  } catch (const CLI::ParseError& error) {
    std::string line = error.what();
    std::replace(line.begin(), line.end(), '\n', ' ');
    return Error(Errc::kUsage, line);
  }
  Parsed parsed;
  bool options_ended = false;
  for (std::string& word : app.remaining()) {
    if (!options_ended && word == "--") {
      options_ended = true;
    } else if (!options_ended && word.size() > 1 && word[0] == '-') {
      return unknown_option(word);
    } else {
      parsed.words.push_back(std::move(word));
    }
  }
  return parsed;
}

// A verb, whose help comes from the library, and which takes from `least` to `most` words.
Result<Parsed> run_verb(CLI::App& app, const Words& words, std::string_view noun, size_t least, size_t most) {
  Result<Parsed> parsed = run_parser(app, words, [&app] { return app.help(); });
  if (!parsed || parsed->shown) return parsed;
  if (parsed->words.size() < least)
    return Error(Errc::kUsage, std::string(noun) + " is missing; see rsyncfs --help");
  if (parsed->words.size() > most) return one_too_many(parsed->words[most]);
  return parsed;
}

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

Result<Command> parse_unmount(const Words& words) {
  CLI::App app("Unmounts, and waits until the daemon has ended.", "rsyncfs umount MOUNTPOINT");
  UnmountCommand command;
  app.add_option("--timeout", command.timeout_s, "wait so many seconds for the daemon (default: 60)")
      ->check(CLI::Range(1, kLongestTimeout))
      ->option_text("SECONDS");
  app.add_flag("-l,--lazy", command.lazy, "detach at once; the daemon ends when the last user is gone");
  const Result<Parsed> parsed = run_verb(app, words, "MOUNTPOINT", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.mountpoint = parsed->words[0];
  return Command(command);
}

Result<Command> parse_status(const Words& words) {
  CLI::App app("Shows what mounts are doing; all of them if none is named.", "rsyncfs status [MOUNTPOINT]");
  StatusCommand command;
  app.add_flag("--json", command.json, "as JSON (fs/control/STATUS_JSON.md)");
  const Result<Parsed> parsed = run_verb(app, words, "MOUNTPOINT", 0, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  if (!parsed->words.empty()) command.mountpoint = parsed->words[0];
  return Command(command);
}

Result<Command> parse_info(const Words& words) {
  CLI::App app("Shows what is known of a file or directory of a mount.", "rsyncfs info PATH");
  InfoCommand command;
  app.add_flag("--json", command.json, "as JSON (fs/control/STATUS_JSON.md)");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, 1);
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.path = parsed->words[0];
  return Command(command);
}

Result<Command> parse_fetch(const Words& words) {
  CLI::App app("Brings files, and all below directories, into the store.", "rsyncfs fetch PATH...");
  FetchCommand command;
  app.add_flag("-q,--quiet", command.quiet, "no progress");
  const Result<Parsed> parsed = run_verb(app, words, "PATH", 1, words.size());
  if (!parsed) return parsed.error();
  if (parsed->shown) return Command(*parsed->shown);
  command.paths = parsed->words;
  return Command(command);
}

using Parser = Result<Command> (*)(const Words& words);
constexpr std::array<std::pair<std::string_view, Parser>, 6> kVerbs{{
    {"mount", parse_mount},
    {"umount", parse_unmount},
    {"unmount", parse_unmount},
    {"status", parse_status},
    {"info", parse_info},
    {"fetch", parse_fetch},
}};

}  // namespace

Result<Command> parse_command_line(const Words& words) {
  if (!words.empty()) {
    for (const auto& [name, parse] : kVerbs) {
      if (words.front() == name) return parse(Words(words.begin() + 1, words.end()));
    }
  }
  return parse_mount(words);
}

}  // namespace rsyncfs
