// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/spare_space.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sync/replica/state_directory.h"

namespace rsyncfs {
namespace {

// What must be free for it to be taken.
constexpr uint64_t kLittle = 2 * SpareSpace::kBytes;

bool has_room(int fd) {
  struct statvfs now {};
  return fstatvfs(fd, &now) == 0 && now.f_bavail * now.f_frsize >= kLittle;
}

}  // namespace

void SpareSpace::take() {
  const std::lock_guard lock(mutex_);
  if (taken_) return;
  const OwnedFd fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || !has_room(fd.get())) return;
  taken_ = fallocate(fd.get(), 0, 0, static_cast<off_t>(kBytes)) == 0;
}

void SpareSpace::give_back() {
  const std::lock_guard lock(mutex_);
  unlink(path_.c_str());
  taken_ = false;
}

}  // namespace rsyncfs
