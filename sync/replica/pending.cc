// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/pending_impl.h"

namespace rsyncfs {
namespace {

Error not_yet() {
  return Error(Errc::kUnsupported, "nothing can be pushed yet");
}

}  // namespace

PendingSummary StoredPendingChanges::summary() const {
  static_cast<void>(reads_);
  const Totals totals = writer_.totals();
  PendingSummary out;
  out.names = static_cast<uint64_t>(totals.pending_names);
  out.nodes = static_cast<uint64_t>(totals.pending_nodes);
  out.bytes = static_cast<uint64_t>(totals.pending_bytes);
  return out;
}

Result<std::vector<PendingName>> StoredPendingChanges::names(size_t /*skip*/, size_t /*limit*/) const {
  return not_yet();
}

Result<std::vector<PendingNode>> StoredPendingChanges::nodes(size_t /*skip*/, size_t /*limit*/) const {
  return not_yet();
}

Result<std::optional<PendingNode>> StoredPendingChanges::node(NodeId /*node*/) const {
  return not_yet();
}

Result<NodeId> StoredPendingChanges::base_binding(NodeId /*parent*/, std::string_view /*name*/) const {
  return not_yet();
}

Result<NodeId> StoredPendingChanges::local_binding(NodeId /*parent*/, std::string_view /*name*/) const {
  return not_yet();
}

Result<std::vector<Binding>> StoredPendingChanges::base_names_of(NodeId /*node*/, size_t /*limit*/) const {
  return not_yet();
}

Result<std::vector<Binding>> StoredPendingChanges::local_names_of(NodeId /*node*/, size_t /*limit*/) const {
  return not_yet();
}

Result<std::vector<Binding>> StoredPendingChanges::base_children(NodeId /*directory*/,
                                                                 size_t /*limit*/) const {
  return not_yet();
}

Result<BaseNode> StoredPendingChanges::base_of(NodeId /*node*/) const {
  return not_yet();
}

Result<RemotePlace> StoredPendingChanges::remote_place(NodeId /*node*/) const {
  return not_yet();
}

Result<std::string> StoredPendingChanges::remote_path(NodeId /*parent*/, std::string_view /*name*/) const {
  return not_yet();
}

Result<void> StoredPendingChanges::acknowledge(const Acknowledged& /*news*/) {
  return not_yet();
}

Result<std::vector<NameChange>> StoredPendingChanges::keep_both(NodeId /*parent*/, std::string_view /*name*/,
                                                                const ListedName* /*theirs*/,
                                                                std::string_view /*copy_name*/) {
  return not_yet();
}

Result<std::vector<NameChange>> StoredPendingChanges::keep_ours(NodeId /*parent*/, std::string_view /*name*/,
                                                                const ListedName* /*theirs*/) {
  return not_yet();
}

Result<std::vector<NameChange>> StoredPendingChanges::take_theirs(NodeId /*parent*/,
                                                                  std::string_view /*name*/,
                                                                  const ListedName* /*theirs*/) {
  return not_yet();
}

Result<void> StoredPendingChanges::record_conflict(const ConflictRecord& /*record*/) {
  return not_yet();
}

Result<std::vector<ConflictRecord>> StoredPendingChanges::conflicts(size_t /*limit*/) const {
  return not_yet();
}

Result<void> StoredPendingChanges::clear_conflicts(const std::vector<uint64_t>& /*ids*/) {
  return not_yet();
}

}  // namespace rsyncfs
