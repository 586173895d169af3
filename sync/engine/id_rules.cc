// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/id_rules.h"

#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace rsyncfs {

namespace {

constexpr size_t kMaxRules = 4096;
constexpr size_t kNameBufferBytes = 16 * 1024;  // more than any sane passwd or group line
constexpr std::string_view kForm =
    "FROM:TO pairs are needed, as rsync --usermap has them: '0-99:nobody,joe:ann,*:guest'";

Error wrong(std::string_view pair, std::string_view why) {
  return Error(Errc::kUsage, "'" + std::string(pair) + "' " + std::string(why) + "; " + std::string(kForm));
}

bool parse_id(std::string_view text, uint32_t& id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() && id != UINT32_MAX;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Result<IdRules::Rule> IdRules::parse_one(
    std::string_view pair, const std::function<std::optional<uint32_t>(const std::string&)>& find) {
  const size_t colon = pair.find(':');
  if (colon == std::string_view::npos) return wrong(pair, "has no colon");
  const std::string_view from = pair.substr(0, colon);
  const std::string to(pair.substr(colon + 1));
  Rule rule;
  if (to.empty()) return wrong(pair, "names nobody behind its colon");
  if (!parse_id(to, rule.to)) {
    const auto found = is_digit(to.front()) ? std::nullopt : find(to);
    if (!found) return wrong(pair, "maps to '" + to + "', whom this machine does not know");
    rule.to = *found;
  }
  if (!from.empty() && is_digit(from.front())) {
    rule.kind = Kind::kRange;
    const size_t dash = from.find('-');
    const bool parsed = parse_id(from.substr(0, dash), rule.first) &&
                        (dash == std::string_view::npos ? true : parse_id(from.substr(dash + 1), rule.last));
    if (dash == std::string_view::npos) rule.last = rule.first;
    if (!parsed || rule.last < rule.first) return wrong(pair, "has no number or range before its colon");
    return rule;
  }
  rule.kind = from.find_first_of("*?[") == std::string_view::npos ? Kind::kName : Kind::kPattern;
  rule.name = from;
  return rule;
}

Result<IdRules> IdRules::parse(std::string_view text,
                               const std::function<std::optional<uint32_t>(const std::string&)>& find) {
  IdRules out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    Result<Rule> rule = parse_one(text.substr(at, end - at), find);
    if (!rule) return rule.error();
    if (out.rules_.size() == kMaxRules) return wrong(text.substr(at, end - at), "is one too many");
    out.rules_.push_back(std::move(*rule));
    at = end + 1;
  }
  return out;
}

std::optional<uint32_t> IdRules::local(uint32_t id, const std::string& name) const {
  for (const Rule& rule : rules_) {
    const bool matches = rule.kind == Kind::kRange  ? rule.first <= id && id <= rule.last
                         : rule.kind == Kind::kName ? rule.name == name
                                                    : ::fnmatch(rule.name.c_str(), name.c_str(), 0) == 0;
    if (matches) return rule.to;
  }
  return std::nullopt;
}

std::optional<uint32_t> IdRules::only_source(uint32_t local, const IdNames& names) const {
  std::set<uint32_t> found;
  for (const Rule& rule : rules_) {
    if (rule.to != local) continue;
    if (rule.kind == Kind::kRange && rule.first == rule.last) found.insert(rule.first);
    if (rule.kind != Kind::kName || rule.name.empty()) continue;
    for (const auto& [id, name] : names) {
      if (name == rule.name) found.insert(id);
    }
  }
  return found.size() == 1 ? std::optional(*found.begin()) : std::nullopt;
}

std::optional<uint32_t> find_user(const std::string& name) {
  std::vector<char> buffer(kNameBufferBytes);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return {};
  return entry.pw_uid;
}

std::optional<uint32_t> find_group(const std::string& name) {
  std::vector<char> buffer(kNameBufferBytes);
  group entry{};
  group* found = nullptr;
  if (::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return {};
  return entry.gr_gid;
}

Result<IdRules> parse_user_rules(std::string_view text) {
  return IdRules::parse(text, find_user);
}

Result<IdRules> parse_group_rules(std::string_view text) {
  return IdRules::parse(text, find_group);
}

}  // namespace rsyncfs
