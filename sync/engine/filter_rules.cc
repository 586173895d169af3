// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/filter_rules.h"

#include <algorithm>
#include <array>
#include <utility>

namespace rsyncfs {

namespace {

constexpr size_t kMaxRules = 4096;
constexpr size_t kMaxPattern = 4000;
// Stars of one pattern; each may double the work of a match that fails.
constexpr size_t kMaxStars = 32;

Error wrong(std::string_view rule, std::string_view why) {
  return Error(Errc::kUsage, "'" + std::string(rule) + "' " + std::string(why));
}

// One character of a set, "[...]" behind its '['; moves `pattern` behind the ']'. False as well for a set
// that does not end.
bool in_set(std::string_view& pattern, char c) {
  const bool negated = !pattern.empty() && (pattern.front() == '!' || pattern.front() == '^');
  if (negated) pattern.remove_prefix(1);
  bool found = false;
  const auto byte = [](char x) { return static_cast<unsigned char>(x); };
  for (bool first = true;; first = false) {
    if (pattern.empty()) return false;
    char low = pattern.front();
    pattern.remove_prefix(1);
    if (low == ']' && !first) break;
    if (low == '\\' && !pattern.empty()) {
      low = pattern.front();
      pattern.remove_prefix(1);
    }
    char high = low;
    if (pattern.size() > 1 && pattern[0] == '-' && pattern[1] != ']') {
      high = pattern[1];
      pattern.remove_prefix(2);
    }
    found = found || (byte(low) <= byte(c) && byte(c) <= byte(high));
  }
  return found != negated && c != '/';
}

bool glob(std::string_view pattern, std::string_view text) {
  while (!pattern.empty()) {
    const char c = pattern.front();
    if (c == '*') {
      const size_t stars = std::min(pattern.find_first_not_of('*'), pattern.size());
      pattern.remove_prefix(stars);
      if (pattern.empty()) return stars > 1 || text.find('/') == std::string_view::npos;
      for (size_t skip = 0; skip <= text.size(); ++skip) {
        if (glob(pattern, text.substr(skip))) return true;
        if (skip < text.size() && text[skip] == '/' && stars == 1) return false;
      }
      return false;
    }
    if (text.empty()) return false;
    pattern.remove_prefix(1);
    if (c == '?') {
      if (text.front() == '/') return false;
    } else if (c == '[') {
      if (!in_set(pattern, text.front())) return false;
    } else {
      char literal = c;
      if (c == '\\' && !pattern.empty()) {
        literal = pattern.front();
        pattern.remove_prefix(1);
      }
      if (literal != text.front()) return false;
    }
    text.remove_prefix(1);
  }
  return text.empty();
}

// The last `count` components.
std::string_view last_components(std::string_view path, size_t count) {
  size_t at = path.size();
  while (count-- > 0) {
    if (at == 0) return path;
    const size_t slash = path.rfind('/', at - 1);
    if (slash == std::string_view::npos) return path;
    at = slash;
  }
  return path.substr(at + 1);
}

enum class Word : uint8_t { kHide, kShow, kFile, kReceiver };
struct NamedRule {
  std::string_view name;
  char letter;
  Word word;
};
constexpr std::array kWords = {
    NamedRule{"exclude", '-', Word::kHide},     NamedRule{"include", '+', Word::kShow},
    NamedRule{"hide", 'H', Word::kHide},        NamedRule{"show", 'S', Word::kShow},
    NamedRule{"merge", '.', Word::kFile},       NamedRule{"dir-merge", ':', Word::kFile},
    NamedRule{"protect", 'P', Word::kReceiver}, NamedRule{"risk", 'R', Word::kReceiver},
};

// Takes the rule's word off the front.
const NamedRule* take_word(std::string_view& text) {
  for (const NamedRule& one : kWords) {
    const bool by_letter = !text.empty() && text.front() == one.letter;
    if (!by_letter && !text.starts_with(one.name)) continue;
    const size_t length = by_letter ? 1 : one.name.size();
    const std::string_view rest = text.substr(length);
    if (!by_letter && !rest.empty() && rest.front() != ' ' && rest.front() != '_' && rest.front() != ',')
      continue;
    text = rest;
    return &one;
  }
  return nullptr;
}

}  // namespace

FilterRules::Rule FilterRules::rule_of(std::string_view pattern) {
  Rule rule;
  if (pattern.size() > 1 && pattern.ends_with('/')) {
    rule.directory = true;
    pattern.remove_suffix(1);
  }
  rule.anchored = pattern.starts_with('/');
  if (rule.anchored) pattern.remove_prefix(1);
  rule.pattern = pattern;
  rule.wild = pattern.find_first_of("*?[") != std::string_view::npos;
  rule.crosses = pattern.find("**") != std::string_view::npos;
  rule.crosses_first = pattern.starts_with("**");
  rule.with_below = pattern.size() > 3 && pattern.ends_with("***");
  rule.slashes = static_cast<size_t>(std::ranges::count(pattern, '/'));
  return rule;
}

Result<void> FilterRules::add(std::string_view text, std::vector<Rule>& rules) {
  constexpr std::string_view kLineEnds("\0\r\n", 3);
  const std::string_view whole = text;
  if (text.find_first_of(kLineEnds) != std::string_view::npos || text.size() > kMaxPattern)
    return wrong(whole, "is no filter rule: it is too long, or of several lines");
  if (text == "!" || text == "clear") {
    rules.clear();
    return {};
  }
  const NamedRule* word = take_word(text);
  if (word == nullptr)
    return wrong(whole, "is no filter rule; it begins with '- ', '+ ', 'hide ' or 'show ', as in '- *.o'");
  if (word->word == Word::kFile)
    return wrong(
        whole, "reads rules from files, which is not supported; give them as exclude=, include= or filter=");
  if (word->word == Word::kReceiver)
    return wrong(
        whole, "is about what a receiver deletes, which means nothing here; what is hidden is never deleted");
  if (text.starts_with(',')) text.remove_prefix(1);
  bool negated = false;
  while (!text.empty() && text.front() != ' ' && text.front() != '_') {
    const char modifier = text.front();
    text.remove_prefix(1);
    if (modifier == '!') {
      negated = true;
    } else if (modifier != 's' && modifier != 'p') {
      return wrong(whole, "has a modifier that is not supported; there are ! (what does not match), s and p");
    }
  }
  if (text.size() < 2) return wrong(whole, "has no pattern");
  text.remove_prefix(1);
  if (static_cast<size_t>(std::ranges::count(text, '*')) > kMaxStars)
    return wrong(whole, "has too many stars");
  if (rules.size() == kMaxRules) return wrong(whole, "is one rule too many");
  Rule rule = rule_of(text);
  rule.hides = word->word == Word::kHide;
  rule.negated = negated;
  rules.push_back(std::move(rule));
  return {};
}

Result<FilterRules> FilterRules::parse(std::span<const std::string> rules) {
  FilterRules out;
  for (const std::string& rule : rules) {
    if (const auto added = add(rule, out.rules_); !added) return added.error();
  }
  return out;
}

bool FilterRules::matches_pattern(const Rule& rule, std::string path, bool directory) {
  const bool by_name = rule.slashes == 0 && !rule.crosses && !rule.anchored;
  if (by_name) path.erase(0, path.rfind('/') + 1);
  if (!rule.wild) {
    if (rule.anchored || by_name) return path == rule.pattern;
    return path.ends_with(rule.pattern) &&
           (path.size() == rule.pattern.size() || path[path.size() - rule.pattern.size() - 1] == '/');
  }
  // "dir/***" is the directory, too.
  if (rule.with_below && directory) path += '/';
  if (rule.anchored || by_name) return glob(rule.pattern, path);
  if (rule.crosses_first) {
    if (glob(rule.pattern, path)) return true;
    path.insert(0, 1, '/');
    return glob(rule.pattern, path);
  }
  if (!rule.crosses) return glob(rule.pattern, last_components(path, rule.slashes + 1));
  for (size_t at = 0;;) {
    if (glob(rule.pattern, std::string_view(path).substr(at))) return true;
    const size_t slash = path.find('/', at);
    if (slash == std::string::npos) return false;
    at = slash + 1;
  }
}

bool FilterRules::matches(const Rule& rule, std::string_view path, bool directory) {
  const bool found = (!rule.directory || directory) && matches_pattern(rule, std::string(path), directory);
  return found != rule.negated;
}

bool FilterRules::hides_itself(std::string_view path, bool directory) const {
  for (const Rule& rule : rules_) {
    if (matches(rule, path, directory)) return rule.hides;
  }
  return false;
}

bool FilterRules::hide(std::string_view path, bool directory) const {
  if (rules_.empty()) return false;
  for (size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1)) {
    if (hides_itself(path.substr(0, slash), true)) return true;
  }
  return hides_itself(path, directory);
}

}  // namespace rsyncfs
