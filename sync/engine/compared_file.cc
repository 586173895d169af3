// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/compared_file.h"

#include <cstring>

namespace rsyncfs {

// A sender may send what it need not: only other bytes are a difference.
Result<void> ComparedFile::literal(uint64_t offset, std::span<const std::byte> data) {
  const auto here = content->view(offset, data.size());
  const bool same =
      here && here->size() == data.size() && std::memcmp(here->data(), data.data(), data.size()) == 0;
  if (same) return {};
  owner_.refuted(*this);
  return Error(Errc::kChanged, "the source has other bytes");
}

void ComparedFile::done(FileEnd end) {
  const auto self = shared_from_this();
  owner_.answered(*this, std::move(end));
}

}  // namespace rsyncfs
