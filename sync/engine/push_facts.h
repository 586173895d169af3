// SPDX-License-Identifier: GPL-3.0-or-later
// What a step needs to know from the Replica, and whether what the source has at a place is what base says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sync/engine/push_entry.h"
#include "sync/engine/push_plan.h"
#include "sync/engine/remote_check.h"

namespace rsyncfs {

// One inode as base has it.
struct ExpectedEntry {
  NodeAttributes attr;
  std::string link_target;

  // The same version: type, and what tells versions of that type apart. Attributes may differ.
  bool matches(const KeptListedName& entry) const;
  bool same_type(const KeptListedName& entry) const;
};

struct StepFacts {
  PushStep step;
  Node local;                              // the node as users see it; empty for what nobody sees any more
  BaseNode base;                           // of the node
  std::optional<ExpectedEntry> at_source;  // the node, if the source has it
  std::optional<ExpectedEntry> occupant;   // what is to go from the place
  bool has_children = false;               // a directory in which users see something
  PushEntry entry;                         // kCreate, kAttributes, kData: as it is to be
};

// On the store strand. Steps whose node is gone meanwhile are left out.
Result<std::vector<StepFacts>> gather_facts(const Replica& replica, const PushBatch& batch);

// Of a file that the server has compared with base before it gave it another name.
RemoteFinding seen_unchanged(const BaseNode& base);

// For the log: what the source has (null: nothing), and what base says of a node.
std::string log_text(const NodeAttributes* attr);
std::string log_text(const PendingChanges& pending, NodeId node);

// The base after the entry was pushed. `exact_times`: the session carried nanoseconds.
BaseNode pushed_base(const Node& node, const NodeAttributes& attr, bool exact_times);

}  // namespace rsyncfs
