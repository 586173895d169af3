// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/pending_impl.h"

namespace rsyncfs {
namespace {

Error not_yet() {
  return Error(Errc::kUnsupported, "conflicts cannot be decided yet");
}

}  // namespace

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

}  // namespace rsyncfs
