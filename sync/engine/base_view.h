// SPDX-License-Identifier: GPL-3.0-or-later
// Questions about base, the last known state of the source, that one plan asks again and again.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "io/base/result.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// Names of one inode that are looked at; more than these are taken to be there.
constexpr size_t kMaxNamesOfNode = 4096;

// One plan, one thread. What was answered is remembered: base must not change meanwhile.
class BaseView {
 public:
  explicit BaseView(const PendingChanges& pending) : pending_(pending) {}

  // The path at the source; nullopt: the source does not have this directory.
  Result<std::optional<std::string>> directory_path(NodeId directory);
  // `directory` is `ancestor`, or below it.
  Result<bool> inside(NodeId directory, NodeId ancestor);
  // The directory's parent at the source; 0 for the root, and for what is not there.
  Result<NodeId> parent_of(NodeId directory);
  // The node has a local name, and no other name at the source that is sure to stay while it has no better
  // one: this one may only go by being moved.
  Result<bool> needed_at(NodeId node, NodeId parent, std::string_view name) const;
  // The file type bits of its mode at the source; 0: not there.
  Result<uint32_t> type_of(NodeId node) const;

  static std::string join(const std::string& directory, std::string_view name);

 private:
  struct Directory {
    NodeId parent = 0;
    std::optional<std::string> path;
  };
  Result<const Directory*> directory(NodeId node);

  const PendingChanges& pending_;
  std::unordered_map<NodeId, Directory> directories_;
};

}  // namespace rsyncfs
