// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/id_map.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace rsyncfs {

namespace {

constexpr size_t kNameBufferBytes = 16 * 1024;  // more than any sane passwd or group line

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

uint32_t translate(const std::unordered_map<uint32_t, uint32_t>& table, uint32_t id) {
  const auto found = table.find(id);
  return found == table.end() ? id : found->second;
}

std::optional<uint32_t> translate_back(const std::unordered_map<uint32_t, uint32_t>& table,
                                       const std::unordered_map<uint32_t, uint32_t>& back, uint32_t id) {
  if (const auto found = back.find(id); found != back.end()) return found->second;
  if (table.contains(id)) return std::nullopt;
  return id;
}

std::unordered_map<uint32_t, uint32_t> turned(const std::unordered_map<uint32_t, uint32_t>& table) {
  std::unordered_map<uint32_t, uint32_t> back;
  for (const auto& [source, local] : table) {
    const auto [at, fresh] = back.emplace(local, source);
    if (!fresh) at->second = std::min(at->second, source);
  }
  return back;
}

}  // namespace

uint32_t IdMap::local_uid(uint32_t source_uid) const {
  return translate(tables()->uids, source_uid);
}
uint32_t IdMap::local_gid(uint32_t source_gid) const {
  return translate(tables()->gids, source_gid);
}

std::optional<uint32_t> IdMap::source_uid(uint32_t local_uid) const {
  const auto all = tables();
  return translate_back(all->uids, all->uids_back, local_uid);
}

std::optional<uint32_t> IdMap::source_gid(uint32_t local_gid) const {
  const auto all = tables();
  return translate_back(all->gids, all->gids_back, local_gid);
}

void IdMap::learn(const std::map<uint32_t, std::string>& users,
                  const std::map<uint32_t, std::string>& groups) {
  if (numeric_) return;
  auto next = std::make_shared<Tables>(*tables());
  for (const auto& [id, name] : users) {
    const auto local = find_user(name);
    if (local && *local != id) next->uids[id] = *local;
  }
  for (const auto& [id, name] : groups) {
    const auto local = find_group(name);
    if (local && *local != id) next->gids[id] = *local;
  }
  next->uids_back = turned(next->uids);
  next->gids_back = turned(next->gids);
  const std::lock_guard lock(mutex_);
  tables_ = std::move(next);
}

std::shared_ptr<const IdMap::Tables> IdMap::tables() const {
  const std::lock_guard lock(mutex_);
  return tables_;
}

}  // namespace rsyncfs
