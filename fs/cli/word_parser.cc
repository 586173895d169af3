// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/cli/word_parser.h"

#include <algorithm>
#include <utility>

#include "fs/daemon/options.h"
#include "fs/daemon/version.h"

namespace rsyncfs {
namespace {

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

Error unknown_option(const std::string& word) {
  std::string near;
  if (word.compare(0, 2, "--") == 0) near = nearest_option(word.substr(2, word.find('=') - 2));
  return Error(Errc::kUsage, "unknown option '" + word.substr(0, word.find('=')) + "'" +
                                 (near.empty() ? "; --help lists those there are"
                                               : "; did you mean '" + long_flag(near) + "'?"));
}

}  // namespace

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

Result<Parsed> run_verb(CLI::App& app, const Words& words, std::string_view noun, size_t least, size_t most) {
  Result<Parsed> parsed = run_parser(app, words, [&app] { return app.help(); });
  if (!parsed || parsed->shown) return parsed;
  if (parsed->words.size() < least)
    return Error(Errc::kUsage, std::string(noun) + " is missing; see rsyncfs --help");
  if (parsed->words.size() > most) return one_too_many(parsed->words[most]);
  return parsed;
}

}  // namespace rsyncfs
