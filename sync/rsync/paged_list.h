// SPDX-License-Identifier: GPL-3.0-or-later
// An incremental recursion: the list of the root, then one list for each directory that an earlier one has
// named, depth first. Lists are handed on as they come, and what is kept here are the names of directories
// whose list is still to come. Source: rsync's flist.c send_extra_file_list(), rsync.c read_ndx_and_attrs().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"
#include "sync/rsync/file_list.h"
#include "sync/rsync/file_list_decoder.h"
#include "sync/rsync/list_page.h"
#include "sync/rsync/wire.h"

namespace rsyncfs {

// The directories whose lists are to come. A server numbers all directories, list by list, each in the order
// of its list, and goes through them depth first; another order is refused, because only this one bounds what
// is kept: to those beside the present directory and beside each above it.
class ComingDirectories {
 public:
  // The directories in the list of `directory`, in the list's order.
  void add(const std::string& directory, const FileList& list);
  bool empty() const { return levels_.empty(); }
  // The path of the one that a list is announced for, which is next no more; nullopt: it is not its turn.
  std::optional<std::string> take(uint32_t number);
  size_t memory_bytes() const { return bytes_; }

 private:
  struct Level {
    std::string directory;
    std::string names;    // each ended by NUL; those of which no list comes are empty
    size_t position = 0;  // of the next name
    uint32_t number = 0;  // and that directory's
    size_t bytes() const { return directory.capacity() + names.capacity() + sizeof(Level); }
  };
  void skip();

  std::vector<Level> levels_;  // never one with nothing left
  uint32_t count_ = 0;         // of all directories that were named
  size_t bytes_ = 0;
};

class PagedListDecoder {
 public:
  PagedListDecoder(const ListFormat& format, const ListLimits& limits, std::function<void(ListPage)> page);

  // Takes whole items from the front of `data`.
  Result<Parsed> parse(std::span<const std::byte> data);
  // All lists have come.
  bool done() const { return phase_ == Phase::kDone; }
  uint64_t lists() const { return lists_; }
  // The server may forget so many lists, the oldest first: it goes on when it has only the newest. Must be
  // fewer than lists(). To be written as one NDX_DONE for each; the server repeats them.
  void release(uint64_t lists) { released_ += lists; }
  uint64_t released() const { return released_; }
  // The source could not read everything, as a message says.
  void add_io_error(uint32_t bits) { io_error_ |= bits; }

 private:
  enum class Phase : uint8_t { kList, kBetween, kDone };
  Result<void> finish_list();
  Result<void> parse_between(WireReader& in);

  const ListLimits limits_;
  std::function<void(ListPage)> page_;
  FileListDecoder decoder_;
  ComingDirectories coming_;
  NdxCoder ndx_;
  std::string directory_;
  Phase phase_ = Phase::kList;
  uint32_t io_error_ = 0;
  uint64_t lists_ = 0;
  uint64_t released_ = 0;
  uint64_t repeated_ = 0;  // of those released
};

}  // namespace rsyncfs
