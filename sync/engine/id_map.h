// SPDX-License-Identifier: GPL-3.0-or-later
// Translates the source's numeric ids to local ones, by the user's rules or by name, as rsync does without
// --numeric-ids, and back.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "sync/engine/id_rules.h"

namespace rsyncfs {

// Any thread. Unknown ids and unknown names map to themselves; id 0 maps to 0 unless its name says otherwise.
class IdMap {
 public:
  explicit IdMap(bool numeric, IdRules user_rules = {}, IdRules group_rules = {})
      : numeric_(numeric), users_{std::move(user_rules), {}}, groups_{std::move(group_rules), {}} {}

  uint32_t local_uid(uint32_t source_uid) const { return local(users_, source_uid); }
  uint32_t local_gid(uint32_t source_gid) const { return local(groups_, source_gid); }
  // The number that is shown as this local one. nullopt: the source has no number for it, since the equal one
  // is somebody else's there. Where the rules show several as this one, the one that it would be without
  // them, unless that is shown as another.
  std::optional<uint32_t> source_uid(uint32_t local_uid) const { return source(users_, local_uid); }
  std::optional<uint32_t> source_gid(uint32_t local_gid) const { return source(groups_, local_gid); }
  // Looks the names up in the local user database: may block, so on an executor thread.
  void learn(const std::map<uint32_t, std::string>& users, const std::map<uint32_t, std::string>& groups);

 private:
  struct Table {
    std::unordered_map<uint32_t, uint32_t> local;  // only those that differ
    std::unordered_map<uint32_t, uint32_t> back;   // the same pairs; the smallest number of several
    IdNames names;                                 // kept where there are rules
  };
  struct Ids {
    const IdRules rules;
    std::shared_ptr<const Table> table;
  };
  std::shared_ptr<const Table> table_of(const Ids& ids) const;
  static uint32_t local_in(const IdRules& rules, const Table& table, uint32_t id);
  uint32_t local(const Ids& ids, uint32_t source) const;
  std::optional<uint32_t> source(const Ids& ids, uint32_t local) const;
  void learn(Ids& ids, const std::map<uint32_t, std::string>& names,
             std::optional<uint32_t> (*find)(const std::string&));

  const bool numeric_;
  mutable std::mutex mutex_;  // guards the tables, held for a pointer copy
  Ids users_;
  Ids groups_;
};

}  // namespace rsyncfs
