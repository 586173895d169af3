// SPDX-License-Identifier: GPL-3.0-or-later
// Translates the source's numeric ids to local ones by name, as rsync does without --numeric-ids, and back.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace rsyncfs {

// Any thread. Unknown ids and unknown names map to themselves; id 0 maps to 0 unless its name says otherwise.
class IdMap {
 public:
  explicit IdMap(bool numeric) : numeric_(numeric), tables_(std::make_shared<const Tables>()) {}

  uint32_t local_uid(uint32_t source_uid) const;
  uint32_t local_gid(uint32_t source_gid) const;
  // The number that is shown as this local one. nullopt: the source has no number for it, since the equal one
  // is somebody else's there.
  std::optional<uint32_t> source_uid(uint32_t local_uid) const;
  std::optional<uint32_t> source_gid(uint32_t local_gid) const;
  // Looks the names up in the local user database: may block, so on an executor thread.
  void learn(const std::map<uint32_t, std::string>& users, const std::map<uint32_t, std::string>& groups);

 private:
  struct Tables {
    std::unordered_map<uint32_t, uint32_t> uids;  // only those that differ
    std::unordered_map<uint32_t, uint32_t> gids;
    std::unordered_map<uint32_t, uint32_t> uids_back;  // the same pairs; the smallest number of several
    std::unordered_map<uint32_t, uint32_t> gids_back;
  };
  std::shared_ptr<const Tables> tables() const;

  bool numeric_;
  mutable std::mutex mutex_;  // guards tables_, held for a pointer copy
  std::shared_ptr<const Tables> tables_;
};

}  // namespace rsyncfs
