// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_jams.h"

#include <utility>

#include "sync/engine/spare_names.h"

namespace rsyncfs {

namespace {
constexpr size_t kMaxChildrenLookedAt = 256;
}

void PushJams::add(const PendingName& name, Why why) {
  of_node_.emplace(name.local, jams_.size());
  jams_.push_back({name, why});
}

void PushJams::add_occupied(const PendingName& name, bool needed) {
  add(name, needed ? Why::kOccupied : Why::kToBeEmptied);
}

void PushJams::add_inside(const PendingName& name) {
  add(name, Why::kInside);
}

void PushJams::add_homeless(const PendingName& name) {
  add(name, Why::kHomeless);
}

// The nodes that must move before this one can.
Result<std::vector<NodeId>> PushJams::blockers(const Jam& jam) {
  std::vector<NodeId> out;
  if (jam.why == Why::kHomeless) return std::vector<NodeId>{jam.name.parent};
  if (jam.why == Why::kInside) {
    for (NodeId node = jam.name.parent; node != 0 && node != jam.name.local;) {
      out.push_back(node);
      const auto parent = base_.parent_of(node);
      if (!parent) return parent.error();
      node = *parent;
    }
    return out;
  }
  out.push_back(jam.name.base);
  if (jam.why == Why::kOccupied) return out;
  // A directory that is to go: everything in it.
  for (size_t next = 0; next < out.size() && out.size() < kMaxChildrenLookedAt; ++next) {
    const auto children = pending_.base_children(out[next], kMaxChildrenLookedAt);
    if (!children) return children.error();
    for (const Binding& child : *children) out.push_back(child.node);
  }
  return out;
}

Result<bool> PushJams::blocks_itself(const Jam& jam) {
  std::unordered_set<NodeId> seen;
  std::vector<const Jam*> queue = {&jam};
  while (!queue.empty()) {
    const Jam* at = queue.back();
    queue.pop_back();
    const auto nodes = blockers(*at);
    if (!nodes) return nodes.error();
    for (const NodeId node : *nodes) {
      if (node == jam.name.local) return true;
      if (!seen.insert(node).second) continue;
      const auto [begin, end] = of_node_.equal_range(node);
      for (auto it = begin; it != end; ++it) queue.push_back(&jams_[it->second]);
    }
  }
  return false;
}

Result<std::optional<PendingName>> PushJams::find() {
  for (const Jam& jam : jams_) {
    if (jam.why != Why::kOccupied || is_spare_name(jam.name.name)) continue;
    const auto ring = blocks_itself(jam);
    if (!ring) return ring.error();
    if (*ring) return std::optional<PendingName>(jam.name);
  }
  return std::optional<PendingName>();
}

}  // namespace rsyncfs
