// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/open_files.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

namespace rsyncfs {

Result<SharedFd> OpenFiles::open(uint64_t block_file) {
  {
    std::lock_guard lock(mutex_);
    const auto known = std::find_if(recent_.begin(), recent_.end(),
                                    [block_file](const Entry& entry) { return entry.first == block_file; });
    if (known != recent_.end()) {
      recent_.splice(recent_.begin(), recent_, known);
      return known->second;
    }
  }
  const std::string path = directory_.block_file(block_file);
  OwnedFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT)
    return Error(Errc::kCorrupt, "the store lost the bytes of a local change: " + path).with_errno(EIO);
  if (!fd) return Error::os(errno, path);
  return put(block_file, std::make_shared<const OwnedFd>(std::move(fd)));
}

SharedFd OpenFiles::keep(uint64_t block_file, OwnedFd fd) {
  return put(block_file, std::make_shared<const OwnedFd>(std::move(fd)));
}

SharedFd OpenFiles::put(uint64_t block_file, SharedFd fd) {
  SharedFd oldest;  // closed after the lock is released
  std::lock_guard lock(mutex_);
  recent_.emplace_front(block_file, fd);
  if (recent_.size() > kMaxOpen) {
    oldest = std::move(recent_.back().second);
    recent_.pop_back();
  }
  return fd;
}

void OpenFiles::forget(uint64_t block_file) {
  std::list<Entry> forgotten;
  std::lock_guard lock(mutex_);
  for (auto entry = recent_.begin(); entry != recent_.end();) {
    const auto next = std::next(entry);
    if (entry->first == block_file) forgotten.splice(forgotten.begin(), recent_, entry);
    entry = next;
  }
}

}  // namespace rsyncfs
