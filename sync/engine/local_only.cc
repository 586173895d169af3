// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/local_only.h"

#include <sys/stat.h>

#include <string>

namespace rsyncfs {

// What no name leads to is nowhere, so no rule is about it.
bool LocalOnly::has(NodeId parent, std::string_view name, bool directory) const {
  if (!any()) return false;
  const Result<std::string> above = replica_.path_of(parent);
  if (!above) return false;
  return rules_.hide(above->empty() ? std::string(name) : *above + "/" + std::string(name), directory);
}

bool LocalOnly::has(const PendingName& name) const {
  if (!any()) return false;
  const Result<Node> node = replica_.node(name.local != 0 ? name.local : name.base);
  return has(name.parent, name.name, node && S_ISDIR(node->attr.mode));
}

bool LocalOnly::has(const Node& node) const {
  if (!any() || node.id == kRootNode) return false;
  const Result<std::string> path = replica_.path_of(node.id);
  return path && rules_.hide(*path, S_ISDIR(node.attr.mode));
}

}  // namespace rsyncfs
