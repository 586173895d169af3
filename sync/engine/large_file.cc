// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/large_file.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {
constexpr size_t kChunkBytes = 256 * 1024;  // one write to the block file
}  // namespace

Result<void> FileStream::literal(uint64_t /*offset*/, std::span<const std::byte> data) {
  while (!data.empty()) {
    if (!chunk_) {
      chunk_ = std::make_shared<std::vector<std::byte>>();
      chunk_->reserve(kChunkBytes);
    }
    const size_t count = std::min(data.size(), kChunkBytes - chunk_->size());
    chunk_->insert(chunk_->end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(count));
    data = data.subspan(count);
    position_ += count;
    if (chunk_->size() == kChunkBytes) flush();
  }
  return {};
}

Result<std::span<const std::byte>> FileStream::copy(uint64_t /*offset*/, uint64_t /*basis_offset*/,
                                                    uint32_t /*length*/) {
  return Error(Errc::kProtocol, "the server refers to blocks that were not offered");
}

void FileStream::flush() {
  if (!chunk_ || chunk_->empty()) return;
  auto bytes = std::exchange(chunk_, nullptr);
  const uint64_t offset = position_ - bytes->size();
  owner_.stream_bytes(file_.shared_from_this(), offset, std::move(bytes));
}

void FileStream::done(FileEnd end) {
  flush();
  owner_.stream_done(file_.shared_from_this(), *this, std::move(end));
}

}  // namespace rsyncfs
