// SPDX-License-Identifier: GPL-3.0-or-later
// Users, or groups, of the source that are shown as others, in the words of rsync's --usermap and --groupmap.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

// Of the local databases; may block.
std::optional<uint32_t> find_user(const std::string& name);
std::optional<uint32_t> find_group(const std::string& name);

using IdNames = std::unordered_map<uint32_t, std::string>;

class IdRules {
 public:
  // "0-99:nobody,wayne:admin,*:normal"; `find` knows the names of this side. kUsage.
  static Result<IdRules> parse(std::string_view text,
                               const std::function<std::optional<uint32_t>(const std::string&)>& find);
  bool empty() const { return rules_.empty(); }
  // The first rule that matches decides. `name`: the source's for `id`, "" if it told none.
  std::optional<uint32_t> local(uint32_t id, const std::string& name) const;
  // The only id of the source that a rule for one user, by number or name, shows as `local`.
  std::optional<uint32_t> only_source(uint32_t local, const IdNames& names) const;

 private:
  enum class Kind : uint8_t { kName, kPattern, kRange };
  struct Rule {
    Kind kind = Kind::kName;
    std::string name;  // or pattern
    uint32_t first = 0;
    uint32_t last = 0;
    uint32_t to = 0;
  };
  static Result<Rule> parse_one(std::string_view text,
                                const std::function<std::optional<uint32_t>(const std::string&)>& find);

  std::vector<Rule> rules_;
};

Result<IdRules> parse_user_rules(std::string_view text);
Result<IdRules> parse_group_rules(std::string_view text);

}  // namespace rsyncfs
