// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/paged_list.h"

#include <sys/stat.h>

#include <utility>

namespace rsyncfs {

namespace {

// rsync.h NDX_FLIST_OFFSET: a list is announced as this minus the directory's number.
constexpr int32_t kNdxFlistOffset = -101;

}  // namespace

void ComingDirectories::add(const std::string& directory, const FileList& list) {
  Level level{.directory = directory, .names = {}, .position = 0, .number = count_};
  std::string_view before;
  for (const FileEntry& entry : list.entries) {
    if (!S_ISDIR(entry.mode)) continue;
    const std::string_view name = list.basename(entry);
    // The root is in its own list. Directories of one name share a list.
    const bool listed = name != "." && name != before;
    if (listed) level.names += name;
    level.names += '\0';
    before = name;
    ++count_;
  }
  level.names.shrink_to_fit();
  bytes_ += level.bytes();
  levels_.push_back(std::move(level));
  skip();
}

// What is next at the end of levels_ is one of which a list comes.
void ComingDirectories::skip() {
  while (!levels_.empty()) {
    Level& level = levels_.back();
    while (level.position < level.names.size() && level.names[level.position] == '\0') {
      ++level.position;
      ++level.number;
    }
    if (level.position < level.names.size()) return;
    bytes_ -= level.bytes();
    levels_.pop_back();
  }
}

std::optional<std::string> ComingDirectories::take(uint32_t number) {
  if (levels_.empty() || levels_.back().number != number) return std::nullopt;
  Level& level = levels_.back();
  const std::string_view name(level.names.c_str() + level.position);
  std::string path;
  if (!level.directory.empty()) path = level.directory + '/';
  path += name;
  level.position += name.size() + 1;
  ++level.number;
  skip();
  return path;
}

PagedListDecoder::PagedListDecoder(const ListFormat& format, const ListLimits& limits,
                                   std::function<void(ListPage)> page)
    : limits_(limits), page_(std::move(page)), decoder_(format, limits) {}

Result<Parsed> PagedListDecoder::parse(std::span<const std::byte> data) {
  Parsed parsed;
  while (parsed.consumed < data.size()) {
    const auto rest = data.subspan(parsed.consumed);
    if (phase_ == Phase::kList) {
      auto taken = decoder_.parse(rest);
      if (!taken.ok()) return taken.error();
      parsed.consumed += taken->consumed;
      parsed.need = taken->need;
      if (!decoder_.done()) return parsed;
      if (auto finished = finish_list(); !finished.ok()) return finished.error();
      continue;
    }
    WireReader in(rest);
    if (auto taken = parse_between(in); !taken.ok()) return taken.error();
    if (in.is_bad()) return Error(Errc::kProtocol, std::string("between lists: ") + in.bad());
    if (in.is_short()) {
      parsed.need = in.need();
      return parsed;
    }
    parsed.consumed += in.position();
  }
  parsed.need = 0;
  return parsed;
}

Result<void> PagedListDecoder::finish_list() {
  ListPage page{directory_, decoder_.take()};
  page.list.io_error |= io_error_;
  io_error_ = page.list.io_error;
  coming_.add(directory_, page.list);
  if (coming_.memory_bytes() > limits_.max_bytes)
    return Error(Errc::kLimit, "the source has too many directories side by side");
  ++lists_;
  phase_ = Phase::kBetween;
  page_(std::move(page));
  return {};
}

// The start of a list, the end of all, or what was released.
Result<void> PagedListDecoder::parse_between(WireReader& in) {
  const int32_t ndx = ndx_.read(in);
  if (!in.ok()) return {};
  if (ndx == kNdxDone) {
    if (++repeated_ > released_) return Error(Errc::kDisconnected, "the server stopped listing");
    return {};
  }
  if (phase_ == Phase::kDone) return Error(Errc::kProtocol, "the server sent more after its list");
  if (ndx == kNdxFlistEof) {
    if (!coming_.empty()) return Error(Errc::kProtocol, "the server left out the lists of directories");
    phase_ = Phase::kDone;
    return {};
  }
  if (ndx > kNdxFlistOffset) return Error(Errc::kProtocol, "the server sent something else than lists");
  auto directory = coming_.take(static_cast<uint32_t>(kNdxFlistOffset - ndx));
  if (!directory) return Error(Errc::kProtocol, "the server sent a list of a directory that was not to come");
  directory_ = std::move(*directory);
  if (!decoder_.next(directory_))
    return Error(Errc::kLimit, "the source lists more entries than rsync can number");
  phase_ = Phase::kList;
  return {};
}

}  // namespace rsyncfs
