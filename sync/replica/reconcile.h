// SPDX-License-Identifier: GPL-3.0-or-later
// Brings one stored directory to what the source lists: a merge of two sorted sequences that writes only
// differences. Names in which users changed something are left to PendingReconciler.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/base/result.h"
#include "sync/replica/dirty_files.h"
#include "sync/replica/losses.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/reconcile_pending.h"
#include "sync/replica/replica.h"
#include "sync/replica/types.h"
#include "sync/replica/withdrawal.h"
#include "sync/replica/writer.h"

namespace rsyncfs {

class Reconciler {
 public:
  // The references must outlive run(). `now_s`: Unix time of the listing.
  Reconciler(Transaction& transaction, DirtyFiles& files, NodeId directory, HardLinkGroups& groups,
             int64_t now_s);

  // Replica::Batch::hold_growths()
  void hold_growths(const Replica::Batch::MayHold& may_hold) { may_hold_ = &may_hold; }

  Result<DirectoryChanges> run(const std::vector<ListedName>& names, bool complete,
                               std::vector<NodeId>& nodes_out);

 private:
  // What differs, found while the stored names are being read, done afterwards.
  struct Step {
    size_t listed = 0;
    Node stored;  // id 0: the name is new
    bool same_version = false;
  };
  struct Removal {
    std::string name;
    Node stored;
  };
  // A name in which something differs from the source.
  struct PendingName {
    std::string name;
    const ListedName* listed = nullptr;  // null: gone
  };

  Result<void> compare(const std::vector<ListedName>& names, bool complete, std::vector<NodeId>& nodes_out);
  Result<void> compare_one(size_t index, const Node& stored, std::string_view stored_target,
                           std::vector<NodeId>& nodes_out);
  Result<void> collect_vanished();
  bool differs(std::string_view name, const Node& stored) const {
    return something_pending_ && (stored.differences != 0 || pending_.differs(name));
  }
  Result<void> follow_renamed_directories();
  Result<void> move_name(const Removal& from, Step& to);
  Result<void> reconcile_pending(std::vector<NodeId>& nodes_out);
  Result<bool> stays_for_its_changes(const Removal& removal);
  Result<void> remove(const Removal& removal);
  Result<NodeId> apply(const Step& step);
  Result<NodeId> apply_directory(const Step& step);
  Result<NodeId> apply_other(const Step& step);
  Result<NodeId> join_group(const Step& step, const Node& target);
  Result<NodeId> keep(const Step& step);
  // A new node for the name. It takes over the ino of the one before, if no other name goes on showing that.
  Result<NodeId> renew(const Step& step);
  Result<NodeId> add_new(const Step& step, const Node& node);
  // What the source says, but never less than the names that we have.
  Result<uint32_t> nlink_in_group(const ListedName& listed, const Node& node);
  // The other version of a file of which nothing is here, and of which nobody was given a byte: its node goes
  // on with it.
  Result<bool> may_change_in_place(const Step& step);
  // The listed version may be a longer one of the same file.
  struct Growth {
    bool proven = false;  // its bytes are here
    bool held = false;    // until that is known
  };
  Result<Growth> growth_of(const Step& step);
  Result<bool> must_separate(const Step& step);
  // Users changed something below a directory in whose place the source has something else now.
  Result<bool> collides(const Step& step);
  // The new file may be one that vanished elsewhere; and what vanished here, one that appeared.
  Result<void> find_former_self(NodeId node, const NodeAttributes& attr);
  Result<void> find_renamed();
  void note_renamed();
  Result<void> note_loss(const Node& stored, std::string_view name, NodeId successor);
  Result<void> merge(const ListedName& listed, const Node& stored, uint32_t nlink);
  Result<bool> may_inherit_ino(const Step& step);
  Result<void> lead_to(const Step& step, NodeId node);
  Result<void> update(const ListedName& listed, const Node& stored, uint32_t nlink);
  Result<void> finish_directory(bool complete);
  const ListedName* find_listed(std::string_view name) const;

  Transaction& transaction_;
  const NodeId directory_;
  HardLinkGroups& groups_;
  const int64_t now_s_;
  const std::vector<ListedName>* names_ = nullptr;
  Node self_;
  uint32_t subdirectories_ = 0;
  std::vector<Removal> removals_;
  std::vector<Step> steps_;
  NewNames new_names_;
  std::vector<PendingName> pending_names_;
  std::vector<NameChange> changes_;
  std::unordered_map<NodeId, NodeId> renamed_;  // what vanished, and what appeared, to the other one
  std::vector<Collision> collisions_;
  std::vector<HeldGrowth> growths_;
  const Replica::Batch::MayHold* may_hold_ = nullptr;
  const bool something_pending_;  // anywhere in the store
  Losses losses_;
  Withdrawal withdrawal_;
  PendingReconciler pending_;
};

// The attributes of one node, as its own entry in a list has them.
Result<std::vector<NameChange>> apply_own_attributes(Transaction& transaction, NodeId node,
                                                     const ListedName& self);

}  // namespace rsyncfs
