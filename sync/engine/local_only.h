// SPDX-License-Identifier: GPL-3.0-or-later
// Names that the user's filter rules leave out: the source is not told of what has one here, and nothing is
// done to what it has by such a name.
#pragma once

#include <string_view>
#include <utility>

#include "sync/engine/filter_rules.h"
#include "sync/replica/replica.h"

namespace rsyncfs {

// Any thread. `replica` must outlive it. Paths are those that users see.
class LocalOnly {
 public:
  LocalOnly(const Replica& replica, FilterRules rules) : replica_(replica), rules_(std::move(rules)) {}

  bool any() const { return !rules_.empty(); }
  bool has(NodeId parent, std::string_view name, bool directory) const;
  bool has(const PendingName& name) const;
  bool has(const Node& node) const;

 private:
  const Replica& replica_;
  const FilterRules rules_;
};

}  // namespace rsyncfs
