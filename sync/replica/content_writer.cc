// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "sync/replica/content_store.h"
#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kMaxFileBytes = std::numeric_limits<int64_t>::max();

bool is_zero(std::span<const std::byte> data) {
  return data.empty() ||
         (data[0] == std::byte{0} && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

}  // namespace

StoredContentWriter::~StoredContentWriter() {
  if (file_) store_.block_files().closed(file_->id);
}

Result<void> StoredContentWriter::use_block_file() {
  auto created = store_.block_files().create(std::max<uint64_t>(expected_size_, small_.size()));
  if (!created) return created.error();
  file_ = std::move(*created);
  const std::vector<std::byte> before = std::move(small_);
  small_ = {};
  const ExtentSet had = std::move(written_);
  written_ = {};
  for (const ExtentSet::Range& range : had.ranges()) {
    auto done = write_blocks(range.begin, std::span(before).subspan(range.begin, range.end - range.begin));
    if (!done) return done;
    written_.add(range.begin, range.end);
  }
  return {};
}

Result<void> StoredContentWriter::adopt(BlockFiles::Created file, const ExtentSet& present,
                                        const ContentSums& sums) {
  file_ = std::move(file);
  sums_.go_on_from(sums);
  recorded_ = true;
  written_ = present;
  touched_ = present;
  // What the last writer wrote after its last commit_partial() was not recorded, but is there.
  for (const ExtentSet::Range& gap : present.missing(0, expected_size_)) {
    if (fallocate(file_->fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(gap.begin),
                  static_cast<off_t>(gap.end - gap.begin)) != 0) {
      touched_.add(gap.begin, gap.end);
    }
  }
  return {};
}

Result<void> StoredContentWriter::discard(uint64_t begin, uint64_t end) {
  written_.remove(begin, end);
  sums_.discard(begin, end);
  return {};
}

Result<void> StoredContentWriter::write(uint64_t offset, std::span<const std::byte> data) {
  if (data.empty()) return {};
  if (offset > kMaxFileBytes || data.size() > kMaxFileBytes - offset)
    return Error::os(EFBIG, "writing a content");
  const uint64_t end = offset + data.size();
  if (in_memory() && end > kSlabMaxFileBytes) {
    if (auto done = use_block_file(); !done) return done;
  }
  if (in_memory()) {
    if (small_.size() < end) {
      if (small_.empty())
        small_.reserve(std::max<uint64_t>(end, std::min(expected_size_, kSlabMaxFileBytes)));
      small_.resize(end);
    }
    std::memcpy(small_.data() + offset, data.data(), data.size());
  } else if (auto done = write_blocks(offset, data); !done) {
    return done;
  }
  written_.add(offset, end);
  return {};
}

// Zeros are not written where nothing was before: a fresh file reads as zeros there. Decided block by block,
// the ends of `data` included, however the pieces of the file arrive.
Result<void> StoredContentWriter::write_blocks(uint64_t offset, std::span<const std::byte> data) {
  const ExtentSet::Range range{offset, offset + data.size()};
  const auto untouched = touched_.missing(range.begin, range.end);
  const bool fresh = untouched.size() == 1 && untouched[0] == range;
  touched_.add(range.begin, range.end);
  sums_.wrote(offset, data);
  store_.block_files().changed(file_->id);
  size_t run = 0;  // [run, at) is to be written
  size_t at = 0;
  const auto flush = [&]() -> Result<void> {
    if (run == at) return {};
    return write_all(file_->fd.get(), data.subspan(run, at - run), offset + run, "writing a content");
  };
  while (at < data.size()) {
    const size_t block_end =
        std::min<uint64_t>(data.size(), (offset + at) / kBlockBytes * kBlockBytes + kBlockBytes - offset);
    if (fresh && is_zero(data.subspan(at, block_end - at))) {
      if (auto done = flush(); !done) return done;
      run = block_end;
    }
    at = block_end;
  }
  return flush();
}

Result<void> StoredContentWriter::read(uint64_t offset, std::span<std::byte> out) const {
  if (out.empty()) return {};
  if (out.size() > kMaxFileBytes || offset > kMaxFileBytes || !written_.covers(offset, offset + out.size())) {
    return Error(Errc::kUsage, "reading bytes of a content that were not written yet");
  }
  if (in_memory()) {
    std::memcpy(out.data(), small_.data() + offset, out.size());
    return {};
  }
  // A hole at the end may lie beyond the file's end as it is now.
  std::memset(out.data(), 0, out.size());
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        pread(file_->fd.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::os(errno, "reading a content");
    if (got == 0) return {};
    done += static_cast<size_t>(got);
  }
  return {};
}

Result<void> StoredContentWriter::commit_partial() {
  if (in_memory() || (written_.ranges().empty() && !recorded_)) return {};
  const uint64_t size =
      std::max(expected_size_, written_.ranges().empty() ? 0 : written_.ranges().back().end);
  // Maps cover the whole size.
  if (size > expected_size_ && ftruncate(file_->fd.get(), static_cast<off_t>(size)) != 0) {
    return Error::os(errno, "extending a content");
  }
  auto sums = sums_of_written(size);
  if (!sums) return sums.error();
  auto recorded =
      store_.record_partial(node_, version_, BytesPlace{0, file_->id, size}, written_, std::move(*sums));
  if (!recorded) return recorded.error();
  recorded_ = recorded_ || *recorded;
  return {};
}

Result<void> StoredContentWriter::end_at(uint64_t size) {
  if (!written_.covers(0, size))
    return Error(Errc::kUsage, "finishing a content whose bytes are not all there");
  // Never cut off what a map may show.
  if (!written_.ranges().empty() && written_.ranges().back().end > size) {
    return Error(Errc::kUsage, "finishing a content before its end");
  }
  if (in_memory()) {
    small_.resize(size);
    ended_sums_ = sums_of_small(small_);
    return {};
  }
  if (ftruncate(file_->fd.get(), static_cast<off_t>(size)) != 0) return Error::os(errno, "ending a content");
  auto sums = sums_of_written(size);
  if (!sums) return sums.error();
  ended_sums_ = std::move(*sums);
  return {};
}

Result<ContentSums> StoredContentWriter::sums_of_written(uint64_t size) {
  sums_.resize(size);
  return sums_.of(written_, [this](uint64_t offset, std::span<std::byte> out) { return read(offset, out); });
}

}  // namespace rsyncfs
