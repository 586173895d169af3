// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/local_changes_impl.h"

namespace rsyncfs {
namespace {

Error not_yet() {
  return Error(Errc::kUnsupported, "the tree cannot be changed yet");
}

}  // namespace

Result<Node> StoredLocalChanges::create(NodeId /*parent*/, std::string_view /*name*/,
                                        const NewNode& /*node*/) {
  static_cast<void>(writer_);
  return not_yet();
}

Result<Node> StoredLocalChanges::create_unnamed(const NewNode& /*node*/) {
  return not_yet();
}

Result<Node> StoredLocalChanges::link(NodeId /*node*/, NodeId /*parent*/, std::string_view /*name*/) {
  return not_yet();
}

Result<NameEffect> StoredLocalChanges::unlink(NodeId /*parent*/, std::string_view /*name*/) {
  return not_yet();
}

Result<NameEffect> StoredLocalChanges::remove_directory(NodeId /*parent*/, std::string_view /*name*/) {
  return not_yet();
}

Result<NameEffect> StoredLocalChanges::rename(NodeId /*parent*/, std::string_view /*name*/,
                                              NodeId /*new_parent*/, std::string_view /*new_name*/,
                                              RenameMode /*mode*/) {
  return not_yet();
}

Result<Node> StoredLocalChanges::change_attributes(NodeId /*node*/, const AttributeChange& /*change*/) {
  return not_yet();
}

Result<Node> StoredLocalChanges::replace_xattrs(NodeId /*node*/, const StoredXattrs& /*xattrs*/,
                                                const std::vector<FullValue>& /*values*/,
                                                std::optional<uint32_t> /*permissions*/) {
  return not_yet();
}

}  // namespace rsyncfs
