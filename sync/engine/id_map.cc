// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/id_map.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace rsyncfs {

namespace {

std::unordered_map<uint32_t, uint32_t> turned(const std::unordered_map<uint32_t, uint32_t>& table) {
  std::unordered_map<uint32_t, uint32_t> back;
  for (const auto& [source, local] : table) {
    const auto [at, fresh] = back.emplace(local, source);
    if (!fresh) at->second = std::min(at->second, source);
  }
  return back;
}

}  // namespace

std::shared_ptr<const IdMap::Table> IdMap::table_of(const Ids& ids) const {
  static const auto kEmpty = std::make_shared<const Table>();
  const std::lock_guard lock(mutex_);
  return ids.table ? ids.table : kEmpty;
}

uint32_t IdMap::local_in(const IdRules& rules, const Table& table, uint32_t id) {
  if (!rules.empty()) {
    const auto name = table.names.find(id);
    if (const auto ruled = rules.local(id, name == table.names.end() ? "" : name->second)) return *ruled;
  }
  const auto found = table.local.find(id);
  return found == table.local.end() ? id : found->second;
}

uint32_t IdMap::local(const Ids& ids, uint32_t source) const {
  return local_in(ids.rules, *table_of(ids), source);
}

std::optional<uint32_t> IdMap::source(const Ids& ids, uint32_t local) const {
  const auto table = table_of(ids);
  if (const auto only = ids.rules.only_source(local, table->names);
      only && local_in(ids.rules, *table, *only) == local)
    return only;
  const auto found = table->back.find(local);
  const uint32_t plain = found == table->back.end() ? local : found->second;
  return local_in(ids.rules, *table, plain) == local ? std::optional(plain) : std::nullopt;
}

void IdMap::learn(Ids& ids, const std::map<uint32_t, std::string>& names,
                  std::optional<uint32_t> (*find)(const std::string&)) {
  auto next = std::make_shared<Table>(*table_of(ids));
  for (const auto& [id, name] : names) {
    const auto local = find(name);
    if (local && *local != id) next->local[id] = *local;
    if (!ids.rules.empty()) next->names[id] = name;
  }
  next->back = turned(next->local);
  const std::lock_guard lock(mutex_);
  ids.table = std::move(next);
}

void IdMap::learn(const std::map<uint32_t, std::string>& users,
                  const std::map<uint32_t, std::string>& groups) {
  if (numeric_) return;
  learn(users_, users, find_user);
  learn(groups_, groups, find_group);
}

}  // namespace rsyncfs
