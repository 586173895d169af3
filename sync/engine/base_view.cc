// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/base_view.h"

#include <sys/stat.h>

#include <utility>

#include "sync/engine/spare_names.h"

namespace rsyncfs {

std::string BaseView::join(const std::string& directory, std::string_view name) {
  std::string out = directory;
  if (!out.empty()) out += '/';
  return out.append(name);
}

Result<const BaseView::Directory*> BaseView::directory(NodeId node) {
  const auto known = directories_.find(node);
  if (known != directories_.end()) return &known->second;
  Directory entry;
  if (node == kRootNode) {
    entry.path = "";
  } else {
    auto place = pending_.remote_place(node);
    if (!place && place.error().code() != Errc::kNotFound) return place.error();
    if (place) {
      entry.parent = place->parent;
      entry.path = std::move(place->path);
    }
  }
  return &directories_.emplace(node, std::move(entry)).first->second;
}

Result<std::optional<std::string>> BaseView::directory_path(NodeId node) {
  const auto entry = directory(node);
  if (!entry) return entry.error();
  return (*entry)->path;
}

Result<NodeId> BaseView::parent_of(NodeId node) {
  const auto entry = directory(node);
  if (!entry) return entry.error();
  return (*entry)->parent;
}

Result<bool> BaseView::inside(NodeId node, NodeId ancestor) {
  while (node != 0 && node != ancestor) {
    const auto parent = parent_of(node);
    if (!parent) return parent.error();
    node = *parent;
  }
  return node != 0;
}

Result<bool> BaseView::needed_at(NodeId node, NodeId parent, std::string_view name) const {
  const auto local = pending_.local_names_of(node, 1);
  if (!local) return local.error();
  if (local->empty()) return false;
  const auto places = pending_.base_names_of(node, kMaxNamesOfNode);
  if (!places) return places.error();
  for (const Binding& place : *places) {
    if (place.parent == parent && place.name == name) continue;
    // A spare name holds it for any other name; who has only that one, or names that go, must keep it.
    if (is_spare_name(place.name) && !is_spare_name(name)) return false;
    const auto bound = pending_.local_binding(place.parent, place.name);
    if (!bound) return bound.error();
    if (*bound == node) return false;
  }
  return true;
}

Result<uint32_t> BaseView::type_of(NodeId node) const {
  const auto base = pending_.base_of(node);
  if (!base) return base.error();
  return base->present ? base->attr.mode & S_IFMT : 0;
}

}  // namespace rsyncfs
