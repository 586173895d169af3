// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/command_line.h"

#include <algorithm>
#include <array>
#include <functional>
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

// What the library leaves over begins with a word that nobody asked for.
Error unexpected(const std::string& word) {
  if (word.size() < 2 || word[0] != '-') return Error(Errc::kUsage, "one word too many: '" + word + "'");
  std::string near;
  if (word.compare(0, 2, "--") == 0) near = nearest_option(word.substr(2, word.find('=') - 2));
  return Error(Errc::kUsage, "unknown option '" + word.substr(0, word.find('=')) + "'" +
                                 (near.empty() ? "" : "; did you mean '" + long_flag(near) + "'?"));
}

// Parses; every failure becomes one line. nullopt: go on.
std::optional<Result<Command>> run_parser(CLI::App& app, Words words,
                                          const std::function<std::string()>& help) {
  app.allow_extras();
  app.set_help_flag("-h,--help");
  app.set_version_flag("-V,--version", std::string(version()));
  words = with_dashes(std::move(words));
  std::reverse(words.begin(), words.end());  // the library takes them from the back
  try {
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    return Command(ShowText{help()});
  } catch (const CLI::CallForVersion&) {
    return Command(ShowText{"rsyncfs " + std::string(version()) + "\n"});
  } catch (const CLI::ParseError& error) {
    std::string line = error.what();
    std::replace(line.begin(), line.end(), '\n', ' ');
    return Result<Command>(Error(Errc::kUsage, line));
  }
  if (const Words rest = app.remaining(); !rest.empty()) return Result<Command>(unexpected(rest.front()));
  return std::nullopt;
}

// A verb's own help comes from the library.
std::optional<Result<Command>> run_verb(CLI::App& app, const Words& words) {
  return run_parser(app, words, [&app] { return app.help(); });
}

struct MountWords {
  Words positional;
  Words lists;                                                              // -o
  std::vector<std::pair<std::string, std::optional<std::string>>> options;  // --NAME, in order
  bool foreground = false;
  bool debug = false;
  int verbose = 0;
  int quiet = 0;
};

void add_mount_options(CLI::App& app, MountWords& given) {
  for (const OptionGroup& group : option_groups()) {
    for (const OptionSpec& spec : group.options) {
      const std::string name(spec.name);
      if (spec.argument.empty()) {
        app.add_flag_function(long_flag(name),
                              [&given, name](int64_t) { given.options.emplace_back(name, std::nullopt); });
      } else {
        app.add_option_function<Words>(long_flag(name),
                                       [&given, name](const Words& values) {
                                         for (const std::string& value : values)
                                           given.options.emplace_back(name, value);
                                       })
            ->expected(1)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
            ->allow_extra_args(false);
      }
    }
  }
}

Result<Command> parse_mount(const Words& words) {
  CLI::App app;
  MountWords given;
  app.add_option("words", given.positional);
  app.add_option("-o", given.lists)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  app.add_flag("-f,--foreground", given.foreground);
  app.add_flag("-d,--debug", given.debug);
  app.add_flag("-v,--verbose", given.verbose);
  app.add_flag("-q,--quiet", given.quiet);
  add_mount_options(app, given);
  if (auto ended = run_parser(app, words, mount_help)) return std::move(*ended);
  if (given.positional.size() != 2) {
    if (given.positional.size() > 2) return unexpected(given.positional[2]);
    return Error(Errc::kUsage,
                 std::string(given.positional.empty() ? "SOURCE and MOUNTPOINT are" : "MOUNTPOINT is") +
                     " missing; see rsyncfs --help");
  }
  MountRequest request;
  request.source = given.positional[0];
  request.mountpoint = given.positional[1];
  request.foreground = given.foreground;
  request.debug = given.debug;
  request.verbosity = given.verbose - given.quiet;
  for (const std::string& list : given.lists) {
    if (const Result<void> applied = apply_option_list(request.options, list); !applied)
      return applied.error();
  }
  for (const auto& [name, value] : given.options) {
    const Result<void> applied = apply_option(request.options, name, value);
    if (!applied) return applied.error();
  }
  if (const Result<void> checked = check_options(request.options); !checked) return checked.error();
  return Command(std::move(request));
}

Result<Command> parse_unmount(const Words& words) {
  CLI::App app("Unmounts, and waits until the daemon has ended.", "rsyncfs umount");
  UnmountCommand command;
  app.add_option("MOUNTPOINT", command.mountpoint, "the mount")->required();
  app.add_option("--timeout", command.timeout_s, "wait so many seconds for the daemon (default: 60)")
      ->check(CLI::Range(1, kLongestTimeout));
  app.add_flag("-l,--lazy", command.lazy, "detach at once; the daemon ends when the last user is gone");
  if (auto ended = run_verb(app, words)) return std::move(*ended);
  return Command(command);
}

Result<Command> parse_status(const Words& words) {
  CLI::App app("Shows what mounts are doing.", "rsyncfs status");
  StatusCommand command;
  app.add_option("MOUNTPOINT", command.mountpoint, "the mount (default: all)");
  app.add_flag("--json", command.json, "as JSON, see fs/control/STATUS_JSON.md");
  if (auto ended = run_verb(app, words)) return std::move(*ended);
  return Command(command);
}

Result<Command> parse_info(const Words& words) {
  CLI::App app("Shows what is known of a file or directory of a mount.", "rsyncfs info");
  InfoCommand command;
  app.add_option("PATH", command.path, "a path inside a mount")->required();
  app.add_flag("--json", command.json, "as JSON, see fs/control/STATUS_JSON.md");
  if (auto ended = run_verb(app, words)) return std::move(*ended);
  return Command(command);
}

Result<Command> parse_fetch(const Words& words) {
  CLI::App app("Brings files, and all below directories, into the store.", "rsyncfs fetch");
  FetchCommand command;
  app.add_option("PATH", command.paths, "paths inside mounts")->required();
  app.add_flag("-q,--quiet", command.quiet, "no progress");
  if (auto ended = run_verb(app, words)) return std::move(*ended);
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
