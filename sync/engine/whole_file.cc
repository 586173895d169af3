// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/whole_file.h"

#include <algorithm>

namespace rsyncfs {

namespace {
// A file that grew since it was listed is taken as it is up to this size, otherwise listed anew.
constexpr uint64_t kMaxGrownBytes = 4 * kMaxWholeFileBytes;
}  // namespace

Result<void> WholeFile::literal(uint64_t offset, std::span<const std::byte> data) {
  if (offset + data.size() > kMaxGrownBytes) {
    outgrown = true;
    owner_.delivered(*this);
    return Error(Errc::kChanged, "a file grew far beyond its listed size");
  }
  if (bytes->capacity() == 0) bytes->reserve(std::min(target.size, kMaxGrownBytes));
  bytes->insert(bytes->end(), data.begin(), data.end());
  owner_.delivered(*this);
  return {};
}

Result<std::span<const std::byte>> WholeFile::copy(uint64_t /*offset*/, uint64_t /*basis_offset*/,
                                                   uint32_t /*length*/) {
  return Error(Errc::kProtocol, "the server refers to blocks that were not offered");
}

void WholeFile::done(FileEnd end) {
  owner_.delivered(*this);
  owner_.received(shared_from_this(), std::move(end));
}

void WholeFile::answer(Reader& reader) {
  const uint64_t size = bytes->size();
  const uint64_t begin = std::min<uint64_t>(reader.offset, size);
  const uint64_t count = std::min<uint64_t>(reader.length, size - begin);
  reader.done(ReadBytes{bytes, std::span<const std::byte>(*bytes).subspan(begin, count)});
}

}  // namespace rsyncfs
