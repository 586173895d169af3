// SPDX-License-Identifier: GPL-3.0-or-later
// A compressed archive of some small files. Source: POSIX pax, "ustar Interchange Format"; gzip by zlib.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/base/result.h"

namespace rsyncfs {

struct ArchivedFile {
  std::string name;  // relative; at most kMaxArchivedName bytes
  std::string text;
};
constexpr size_t kMaxArchivedName = 99;
constexpr size_t kMaxArchivedBytes = 64 << 20;  // of one file

// The whole archive; `time_s`: of the files, Unix time. kLimit: a name or a text is too long.
Result<std::string> tar_gz(const std::vector<ArchivedFile>& files, int64_t time_s);

// Writes a new file, mode 0600, or replaces one that is ours. kOs.
Result<void> write_private_file(const std::string& path, std::string_view bytes);

}  // namespace rsyncfs
