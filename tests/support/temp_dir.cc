// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/temp_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/support/mount_table.h"
#include "tests/support/setup_failure.h"

namespace rsyncfs::support {
namespace {

std::vector<std::string> names_in(int dir_fd) {
  std::vector<std::string> names;
  const int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return names;
  DIR* dir = fdopendir(copy);
  if (dir == nullptr) {
    close(copy);
    return names;
  }
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(dir);
  return names;
}

bool remove_entry(int parent_fd, const std::string& name, dev_t device) {
  if (unlinkat(parent_fd, name.c_str(), 0) == 0) return true;
  if (errno != EISDIR && errno != EPERM) return errno == ENOENT;
  int fd = openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && fchmodat(parent_fd, name.c_str(), 0700, 0) == 0) {
    fd = openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }
  if (fd < 0) return false;
  struct stat info {};
  if (fstat(fd, &info) != 0 || info.st_dev != device) {
    close(fd);
    errno = EXDEV;
    return false;
  }
  if ((info.st_mode & 0700) != 0700) static_cast<void>(fchmod(fd, 0700));
  bool clean = true;
  for (const std::string& child : names_in(fd)) clean = remove_entry(fd, child, device) && clean;
  close(fd);
  return unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR) == 0 && clean;
}

}  // namespace

bool remove_tree(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return errno == ENOENT;
  return remove_entry(AT_FDCWD, path, info.st_dev);
}

TempDir::TempDir(std::string_view prefix) {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = base != nullptr && *base != '\0' ? base : "/tmp";
  pattern += "/" + std::string(prefix) + ".XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) fail_setup_errno("mkdtemp " + pattern);
  char* resolved = realpath(pattern.c_str(), nullptr);
  path_ = resolved != nullptr ? resolved : pattern;
  std::free(resolved);
  if (chmod(path_.c_str(), 0755) != 0) fail_setup_errno("chmod " + path_);
}

TempDir::~TempDir() {
  for (const std::string& point : mounts_below(path_)) detach_mount(point);
  if (!remove_tree(path_)) {
    std::fprintf(stderr, "left behind: %s (%s)\n", path_.c_str(), std::strerror(errno));
  }
}

std::string TempDir::make_dir(std::string_view name) const {
  std::string path = *this / name;
  if (mkdir(path.c_str(), 0755) != 0) fail_setup_errno("mkdir " + path);
  return path;
}

}  // namespace rsyncfs::support
