// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/dirty_files.h"

namespace rsyncfs {
namespace {

Error not_yet() {
  return Error(Errc::kUnsupported, "files cannot be changed yet");
}

}  // namespace

Result<void> DirtyFiles::recover() {
  static_cast<void>(directory_);
  static_cast<void>(writer_);
  static_cast<void>(reads_);
  static_cast<void>(epochs_);
  static_cast<void>(contents_);
  return {};
}

Result<Node> DirtyFiles::write(NodeId /*file*/, uint64_t /*offset*/, std::span<const std::byte> /*data*/,
                               uint32_t /*clear_permissions*/) {
  return not_yet();
}

Result<Node> DirtyFiles::resize(NodeId /*file*/, uint64_t /*size*/, uint32_t /*clear_permissions*/) {
  return not_yet();
}

Result<Node> DirtyFiles::allocate(NodeId /*file*/, AllocateMode /*mode*/, uint64_t /*offset*/,
                                  uint64_t /*length*/, uint32_t /*clear_permissions*/) {
  return not_yet();
}

std::shared_ptr<const DirtyContent> DirtyFiles::dirty(NodeId /*file*/) const {
  return nullptr;
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

Result<void> DirtyFiles::discard(Transaction& /*transaction*/, NodeId /*node*/) {
  return {};
}

}  // namespace rsyncfs
