// SPDX-License-Identifier: GPL-3.0-or-later
// Both sides of a push in memory: a tree that users change, what is known of the source, and a source that
// does with names what an rsync server does. For testing plans without either.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sync/engine/push_plan.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// Base and local as maps. Attributes stand for contents: `size` is the version of a regular file's bytes, and
// of a symbolic link's target.
class PendingModel final : public PendingChanges {
 public:
  using Name = std::pair<NodeId, std::string>;
  using Names = std::map<Name, NodeId>;
  struct State {
    NodeAttributes attr;
    bool present = false;
    bool operator==(const State&) const = default;
  };

  PendingModel();
  Names local;
  Names base;
  std::map<NodeId, State> local_nodes;
  std::map<NodeId, State> base_nodes;
  NodeId next_node = 2;
  // When names and nodes were changed; 0 if not here.
  std::map<Name, int64_t> names_since_ms;
  std::map<NodeId, int64_t> nodes_since_ms;

  // The local side as a user sees it.
  NodeId make(NodeId parent, const std::string& name, uint32_t type);
  bool is_directory(NodeId node) const;
  bool is_empty(NodeId directory) const;
  bool contains(NodeId ancestor, NodeId directory) const;
  std::vector<NodeId> directories() const;

  PendingSummary summary() const override;
  Result<std::vector<PendingName>> names(size_t skip, size_t limit) const override;
  Result<std::vector<PendingNode>> nodes(size_t skip, size_t limit) const override;
  Result<std::optional<PendingNode>> node(NodeId node) const override;
  Result<uint64_t> removals() const override;
  Result<NodeId> base_binding(NodeId parent, std::string_view name) const override;
  Result<NodeId> local_binding(NodeId parent, std::string_view name) const override;
  Result<std::vector<Binding>> base_names_of(NodeId node, size_t limit) const override;
  Result<std::vector<Binding>> local_names_of(NodeId node, size_t limit) const override;
  Result<std::vector<Binding>> base_children(NodeId directory, size_t limit) const override;
  Result<BaseNode> base_of(NodeId node) const override;
  Result<RemotePlace> remote_place(NodeId node) const override;
  Result<std::string> remote_path(NodeId parent, std::string_view name) const override;
  Result<void> acknowledge(const Acknowledged& news) override;

  std::vector<Result<std::shared_ptr<PushSnapshot>>> snapshots(std::span<const NodeId> files) override;
  void read_ahead(std::span<const std::shared_ptr<PushSnapshot>> /*snapshots*/) override {}
  using PendingChanges::pushed;
  Result<void> pushed(std::vector<PushedContent> files) override;
  Result<std::vector<NameChange>> keep_both(NodeId parent, std::string_view name, const ListedName* theirs,
                                            std::string_view copy_name) override;
  Result<std::vector<NameChange>> keep_ours(NodeId parent, std::string_view name,
                                            const ListedName* theirs) override;
  Result<std::vector<NameChange>> take_theirs(NodeId parent, std::string_view name,
                                              const ListedName* theirs) override;
  Result<void> record_conflict(const ConflictRecord& record) override;
  Result<std::vector<ConflictRecord>> conflicts(size_t limit) const override;
  Result<void> clear_conflicts(const std::vector<uint64_t>& ids) override;

 private:
  PendingNode describe(NodeId node) const;
};

// The source: paths and inodes. Each call is what the server does for one entry of a list.
class SourceModel {
 public:
  struct Inode {
    NodeAttributes attr;
    NodeId made_of = 0;  // the node whose version it has: for finding it again
    std::map<std::string, std::shared_ptr<Inode>> children;
  };
  using InodePtr = std::shared_ptr<Inode>;
  SourceModel();

  bool root_takes_moves = true;
  InodePtr find(const std::string& path) const;
  // False: not done, as the server would leave it.
  bool make(const std::string& path, NodeId node, const NodeAttributes& attr);
  bool move(const std::string& from, const std::string& to);
  bool link(const std::string& from, const std::string& to);
  bool remove(const std::string& path);
  bool holds(NodeId node, uint64_t version) const;
  const InodePtr& root() const { return root_; }

 private:
  InodePtr parent_of(const std::string& path, std::string& name) const;
  InodePtr root_;
};

}  // namespace rsyncfs
