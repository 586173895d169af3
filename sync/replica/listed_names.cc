// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/renamed_files.h"
#include "sync/replica/types.h"

namespace rsyncfs {

KeptListedName KeptListedName::of(const ListedName& listed) {
  KeptListedName out;
  out.name = listed.name;
  out.attr = listed.attr;
  out.link_target = listed.link_target;
  if (listed.xattrs != nullptr) out.xattrs = *listed.xattrs;
  out.hlink_group = listed.hlink_group;
  out.xattrs_known = listed.xattrs_known;
  return out;
}

ListedName KeptListedName::view() const {
  ListedName out;
  out.name = name;
  out.attr = attr;
  out.link_target = link_target;
  out.xattrs = xattrs.empty() ? nullptr : &xattrs;
  out.hlink_group = hlink_group;
  out.xattrs_known = xattrs_known;
  return out;
}

HardLinkGroups::HardLinkGroups() : renamed_(std::make_unique<RenamedFiles>()) {}
HardLinkGroups::~HardLinkGroups() = default;

NodeId HardLinkGroups::node_of(uint32_t group) const {
  const auto found = nodes_.find(group);
  return found == nodes_.end() ? 0 : found->second;
}

uint32_t HardLinkGroups::group_of(NodeId node) const {
  const auto found = groups_.find(node);
  return found == groups_.end() ? 0 : found->second;
}

void HardLinkGroups::set(uint32_t group, NodeId node) {
  nodes_[group] = node;
  groups_[node] = group;
}

}  // namespace rsyncfs
