// SPDX-License-Identifier: GPL-3.0-or-later
// Names that wait for one another in a ring: two files that were exchanged, a directory that was moved into
// its own child. One of them has to go aside.
#pragma once

#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "io/base/result.h"
#include "sync/engine/base_view.h"
#include "sync/replica/pending.h"

namespace rsyncfs {

// One plan, one thread.
class PushJams {
 public:
  PushJams(const PendingChanges& pending, BaseView& base) : pending_(pending), base_(base) {}

  // The name's local node waits for what base has there: until that has moved (`needed`), or what is in it
  // has.
  void add_occupied(const PendingName& name, bool needed);
  // It waits because its new directory lies in itself.
  void add_inside(const PendingName& name);
  // It waits because its new directory is not at the source.
  void add_homeless(const PendingName& name);
  size_t size() const { return jams_.size(); }

  // One of a ring and the name where it stands in the way; nullopt: no ring.
  struct Aside {
    NodeId node = 0;
    NodeId near = 0;  // a directory that is not in it
  };
  Result<std::optional<Aside>> find();

 private:
  enum class Why : uint8_t { kOccupied, kToBeEmptied, kInside, kHomeless };
  struct Jam {
    PendingName name;
    Why why;
  };

  void add(const PendingName& name, Why why);

  Result<std::vector<NodeId>> blockers(const Jam& jam);
  Result<bool> blocks_itself(const Jam& jam);
  Result<std::optional<Aside>> find(Why why);
  Result<NodeId> refuge(NodeId directory, NodeId node);
  Result<bool> is_refuge(NodeId directory, NodeId node);

  const PendingChanges& pending_;
  BaseView& base_;
  std::vector<Jam> jams_;
  std::unordered_multimap<NodeId, size_t> of_node_;  // places in jams_ by the node that waits
};

}  // namespace rsyncfs
