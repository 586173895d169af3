// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/dirty_files.h"

#include "sync/replica/file_change.h"

namespace rsyncfs {
namespace {

Error not_yet() {
  return Error(Errc::kUnsupported, "nothing can be pushed yet");
}

}  // namespace

Result<void> DirtyFiles::recover() {
  auto nodes = nodes_with_layers(store_.writer.db());
  if (!nodes) return nodes.error();
  for (const NodeId node : *nodes) registry_.set_layers(node, true);
  return {};
}

Result<Node> DirtyFiles::write(NodeId file, uint64_t offset, std::span<const std::byte> data,
                               uint32_t clear_permissions) {
  const auto object = registry_.file(file);
  return FileChange(store_, *object, clear_permissions).write(offset, data);
}

Result<Node> DirtyFiles::resize(NodeId file, uint64_t size, uint32_t clear_permissions) {
  const auto object = registry_.file(file);
  return FileChange(store_, *object, clear_permissions).resize(size);
}

Result<Node> DirtyFiles::allocate(NodeId file, AllocateMode mode, uint64_t offset, uint64_t length,
                                  uint32_t clear_permissions) {
  const auto object = registry_.file(file);
  return FileChange(store_, *object, clear_permissions).allocate(mode, offset, length);
}

Result<void> DirtyFiles::sync(NodeId /*node*/) {
  return not_yet();
}

Result<void> DirtyFiles::sync_all() {
  return not_yet();
}

Result<std::shared_ptr<PushSnapshot>> DirtyFiles::snapshot(NodeId /*file*/) {
  return not_yet();
}

Result<void> DirtyFiles::pushed(std::shared_ptr<PushSnapshot> /*snapshot*/, const BaseNode& /*now*/,
                                std::string_view /*digest_name*/, std::string_view /*digest*/,
                                const std::vector<Binding>& /*names*/) {
  return not_yet();
}

void DirtyFiles::committed(const Aftermath& aftermath) {
  for (const NodeId node : aftermath.layers_made) registry_.set_layers(node, true);
  for (const NodeId node : aftermath.layers_dropped) registry_.dropped(node);
  for (const BytesPlace& place : aftermath.freed) {
    if (place.slab == 0) store_.files.forget(place.position);
  }
}

}  // namespace rsyncfs
