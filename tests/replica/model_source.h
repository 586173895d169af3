// SPDX-License-Identifier: GPL-3.0-or-later
// A source as an obvious tree in memory: it changes by itself, is listed, and has pushes done to it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/replica/replica_rig.h"

namespace rsyncfs {

struct SourceInode {
  NodeAttributes attr;
  std::string target;
  std::map<std::string, uint64_t> children;
  bool is_directory() const { return S_ISDIR(attr.mode); }
};

// A regular file's time is the number of its version.
class ModelSource {
 public:
  // `versions`: the last number that was given.
  ModelSource(uint64_t seed, int64_t& versions);

  // Something happens there. Versions that are gone or replaced by that are added to `outdated`.
  void change(std::set<int64_t>& outdated);

  const SourceInode& inode(uint64_t id) const { return inodes_.at(id); }
  uint32_t links(uint64_t id) const;
  bool has_version(int64_t version) const;
  // Empty: the root. nullopt: nothing is there.
  std::optional<uint64_t> find(const std::string& path) const;

  // ---- what a push does; the caller has looked ----
  uint64_t add(const std::string& parent, const std::string& name, const NodeAttributes& attr,
               const std::string& target);
  void link(const std::string& parent, const std::string& name, uint64_t id);
  void move(const std::string& from, const std::string& parent, const std::string& name);
  void remove(const std::string& path);
  void set(const std::string& path, const NodeAttributes& attr);

 private:
  uint64_t any_directory();
  std::string any_name() { return std::string(1, static_cast<char>('a' + random_() % 8)); }
  bool pick(uint64_t& directory, std::string& name);
  void erase(uint64_t directory, const std::string& name, std::set<int64_t>& outdated);
  uint64_t make();
  void note_outdated(uint64_t id, std::set<int64_t>& outdated) const;

  std::mt19937_64 random_;
  int64_t& versions_;
  std::map<uint64_t, SourceInode> inodes_;
  uint64_t next_ = 1;
};

}  // namespace rsyncfs
