// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/large_file.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {
constexpr size_t kChunkBytes = 1 << 20;  // one write to the block file
// A stream this close behind a reader is waited for: what comes in the time that another one needs to begin.
constexpr uint64_t kSkipBytes = 1 << 20;
constexpr uint64_t kSkipToReadyBytes = 256 * 1024;  // where a session is ready for that
constexpr uint64_t kStreamAlignBytes = 4096;
}  // namespace

Result<void> FileStream::literal(uint64_t /*offset*/, std::span<const std::byte> data) {
  const uint64_t wanted = std::min<uint64_t>(data.size(), file_.target.size - position_);
  beyond_ += data.size() - wanted;
  data = data.first(wanted);
  while (!data.empty()) {
    if (!chunk_.owner) chunk_ = buffers_.get(kChunkBytes);
    const size_t count = std::min(data.size(), kChunkBytes - gathered_);
    std::copy_n(data.begin(), count, chunk_.bytes.begin() + static_cast<std::ptrdiff_t>(gathered_));
    data = data.subspan(count);
    gathered_ += count;
    position_ += count;
    if (gathered_ == kChunkBytes) flush();
  }
  return {};
}

Result<std::span<const std::byte>> FileStream::copy(uint64_t /*offset*/, uint64_t /*basis_offset*/,
                                                    uint32_t /*length*/) {
  return Error(Errc::kProtocol, "the server refers to blocks that were not offered");
}

void FileStream::flush() {
  if (gathered_ == 0) return;
  SharedBytes bytes = std::exchange(chunk_, {}).shared().first(std::exchange(gathered_, 0));
  const uint64_t offset = position_ - bytes.bytes.size();
  owner_.stream_bytes(file_.shared_from_this(), offset, std::move(bytes));
}

void FileStream::done(FileEnd end) {
  flush();
  owner_.stream_done(file_.shared_from_this(), *this, std::move(end));
}

bool FileStream::will_bring(uint64_t offset) const {
  const bool ready = file_.ready && file_.ready->any();
  return start_ <= offset && offset <= position_ + (ready ? kSkipToReadyBytes : kSkipBytes);
}

void FileStream::note_read(uint64_t offset, uint64_t end) {
  if (!will_bring(offset) || end <= demanded_end_) return;
  const bool was_probe = is_probe();
  demanded_end_ = end;
  if (was_probe && session) session->expect(0);
}

void FileStream::bring_all() {
  if (!is_probe()) return;
  demanded_end_ = first_end_ + 1;
  session->expect(0);
}

Result<void> LargeFile::Writer::read(uint64_t offset, std::span<std::byte> out) const {
  if (content) return content->read(offset, out);
  if (!passing) return Error(Errc::kCanceled, "the file was put away");
  return passing->read(offset, out) ? Result<void>() : Error(Errc::kVanished, "other bytes took their place");
}

std::optional<uint64_t> LargeFile::lacks(const Reader& reader) const {
  const auto gaps = received.missing(reader.offset, reader.end);
  if (gaps.empty()) return std::nullopt;
  return gaps.front().begin;
}

std::vector<LargeFile::Start> LargeFile::starts() const {
  std::vector<Start> out;
  const auto coming = [this](uint64_t offset) {
    return std::any_of(streams.begin(), streams.end(),
                       [offset](const auto& stream) { return stream->will_bring(offset); });
  };
  for (const Reader& reader : readers) {
    const auto lacking = lacks(reader);
    if (!lacking || coming(*lacking)) continue;
    // Whole pages, where the rest of the first one is missing, too.
    const auto gaps = received.missing(*lacking / kStreamAlignBytes * kStreamAlignBytes, *lacking + 1);
    out.push_back({gaps.back().begin, reader.end, reader.since});
  }
  if (hydrators.empty() || !streams.empty() || !out.empty() || delta) return out;
  const auto gaps = received.missing(0, target.size);
  if (!gaps.empty()) out.push_back({gaps.front().begin, gaps.front().begin, hydrators.front().since});
  return out;
}

FileStream* LargeFile::victim(Clock::time_point since, Clock::time_point now) const {
  FileStream* unneeded = nullptr;
  FileStream* younger = nullptr;
  for (const auto& stream : streams) {
    auto oldest = Clock::time_point::max();
    for (const Reader& reader : readers) {
      const auto lacking = lacks(reader);
      if (lacking && stream->will_bring(*lacking)) oldest = std::min(oldest, reader.since);
    }
    if (oldest == Clock::time_point::max()) {
      if (unneeded == nullptr || stream->session->paused()) unneeded = stream.get();
    } else if (oldest > since && now - stream->opened_at >= kStreamTurn) {
      younger = stream.get();
    }
  }
  return unneeded != nullptr ? unneeded : younger;
}

}  // namespace rsyncfs
