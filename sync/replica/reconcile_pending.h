// SPDX-License-Identifier: GPL-3.0-or-later
// The names of one listed directory in which something differs from the source: what is listed is compared
// with what the source had, and what users made of it is kept, merged, or found to be there already.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/losses.h"
#include "sync/replica/pending.h"
#include "sync/replica/source_node.h"
#include "sync/replica/types.h"
#include "sync/replica/withdrawal.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

// The references must outlive it; of one transaction.
class PendingReconciler {
 public:
  PendingReconciler(Transaction& transaction, NodeId directory, HardLinkGroups& groups, Losses& losses,
                    std::vector<NameChange>& changes, std::vector<Collision>& collisions)
      : transaction_(transaction),
        directory_(directory),
        groups_(groups),
        losses_(losses),
        changes_(changes),
        collisions_(collisions),
        withdrawal_(transaction, losses, changes) {}

  // Reads which names differ. Without any this object costs nothing more.
  Result<void> load();
  bool differs(std::string_view name) const { return base_.find(name) != base_.end(); }
  const std::map<std::string, NodeId, std::less<>>& differing() const { return base_; }

  // `listed` null: the source has no such name any more. Gives the node that the source's name leads to: 0
  // when there is none, or a collision.
  Result<NodeId> reconcile(std::string_view name, const ListedName* listed);

 private:
  struct Sides {
    std::string_view name;
    const ListedName* listed = nullptr;
    NodeId base = 0;
    NodeId local = 0;
  };
  // The base's node is what users see here, or moved elsewhere.
  Result<NodeId> reconcile_node(const Sides& sides, const KnownNode& known);
  // Users see another node here than base, which they see nowhere, or only where the source has it, too.
  Result<NodeId> reconcile_name(const Sides& sides);

  // What users see here, if it is what the source has here now.
  Result<std::optional<KnownNode>> find_arrived(const Sides& sides);
  Result<bool> is_one_of_several(const KnownNode& known);
  // Users see it by a name that the source does not have.
  Result<bool> is_moved(NodeId node);
  Result<NodeId> follow(const Sides& sides, const KnownNode& known);
  Result<NodeId> replace_version(const Sides& sides, const KnownNode& known);
  Result<NodeId> replace_object(const Sides& sides, const KnownNode& known);
  Result<NodeId> lose(const Sides& sides, const KnownNode& known);
  // Base and users leave this name to what is listed.
  Result<NodeId> appear(const Sides& sides);
  // What users made is what the source has by now.
  Result<NodeId> converge(const Sides& sides, const KnownNode& local);
  Result<void> unite(const Sides& sides);
  Result<NodeId> collide(const Sides& sides);
  Result<void> move_names(const Sides& sides, const KnownNode& known, NodeId version);
  Result<bool> may_be_in(NodeId directory, NodeId parent);
  Result<Verdict> judge_name(const Sides& sides, const KnownNode* base, const KnownNode* local);

  Transaction& transaction_;
  const NodeId directory_;
  HardLinkGroups& groups_;
  Losses& losses_;
  std::vector<NameChange>& changes_;
  std::vector<Collision>& collisions_;
  Withdrawal withdrawal_;
  std::map<std::string, NodeId, std::less<>> base_;  // of the names that differ
};

}  // namespace rsyncfs
