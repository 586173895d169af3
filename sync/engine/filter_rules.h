// SPDX-License-Identifier: GPL-3.0-or-later
// Which names the user's filter rules leave out, as the sending rsync would decide it (rsync(1), FILTER
// RULES; exclude.c).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

class FilterRules {
 public:
  // "- *.o", "+ /a/***", "hide,! x/", "!". kUsage, also for what cannot be meant here: rules in files, and
  // those about what a receiver deletes.
  static Result<FilterRules> parse(std::span<const std::string> rules);
  bool empty() const { return rules_.empty(); }
  // Whether `path`, from the mounted tree's top without a leading '/', or a directory that it is in, is left
  // out.
  bool hide(std::string_view path, bool directory) const;

 private:
  struct Rule {
    std::string pattern;
    bool hides = true;
    bool negated = false;        // of what does not match
    bool directory = false;      // only
    bool anchored = false;       // at the tree's top
    bool wild = false;           // the pattern is one
    bool crosses = false;        // "**" is in it
    bool crosses_first = false;  // at its beginning
    bool with_below = false;     // "***" is its end
    size_t slashes = 0;
  };
  static Result<void> add(std::string_view text, std::vector<Rule>& rules);
  static Rule rule_of(std::string_view pattern);
  static bool matches(const Rule& rule, std::string_view path, bool directory);
  static bool matches_pattern(const Rule& rule, std::string path, bool directory);
  bool hides_itself(std::string_view path, bool directory) const;

  std::vector<Rule> rules_;
};

}  // namespace rsyncfs
