// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/file_target.h"

#include <sys/stat.h>

#include "io/base/text.h"

namespace rsyncfs {

bool FileTarget::matches(const FileEntry& entry) const {
  return S_ISREG(entry.mode) && entry.size == size && entry.mtime_s == mtime_s && entry.mtime_ns == mtime_ns;
}

void FetchTotals::note_failure(std::string_view path, const Error& why) {
  ++failed;
  count_failure(failures, why.code());
  failing.push_front(escape_control(path) + ": " + why.message());
  if (failing.size() > kMaxListedFailures) failing.pop_back();
}

}  // namespace rsyncfs
