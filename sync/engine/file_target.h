// SPDX-License-Identifier: GPL-3.0-or-later
// A file to be fetched, in the version that is wanted.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "io/base/result.h"
#include "sync/engine/status.h"
#include "sync/replica/types.h"
#include "sync/rsync/file_list.h"

namespace rsyncfs {

// A node and its version as the Replica knew it when the request was made.
struct FileTarget {
  NodeId node = 0;
  NodeId parent = 0;
  std::string name;
  std::string path;
  uint64_t size = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;

  std::string directory() const {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? std::string() : path.substr(0, slash);
  }
  FileVersion version() const { return {size, mtime_s, mtime_ns}; }
  // Whether the source lists this very version.
  bool matches(const FileEntry& entry) const;
};

// Totals, and what recently went wrong, for status.
struct FetchTotals {
  uint64_t files = 0;
  uint64_t bytes = 0;
  uint64_t failed = 0;
  uint64_t timed_out = 0;
  FailureCounts failures{};
  std::deque<std::string> failing;  // most recent first, at most kMaxListedFailures
  void note_failure(std::string_view path, const Error& why);
};

}  // namespace rsyncfs
