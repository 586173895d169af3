// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/mount_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

#include "fs/fuse/front.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

constexpr const char* kDevice = "/dev/fuse";
constexpr const char* kConfiguration = "/etc/fuse.conf";
constexpr const char* kHelper = "fusermount3";
// Where libfuse looks first.
constexpr const char* kHelperDirectory = "/usr/bin";

bool in_path(const char* program) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(std::string(kHelperDirectory) + ":" + (path == nullptr ? "" : path));
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (!directory.empty() && ::access((directory + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

Result<std::string> check_mountpoint(const std::string& mountpoint) {
  const std::string what = "mountpoint " + mountpoint;
  const std::unique_ptr<char, decltype(&std::free)> absolute(::realpath(mountpoint.c_str(), nullptr),
                                                             &std::free);
  struct stat st {};
  if (absolute == nullptr || ::stat(absolute.get(), &st) != 0) {
    const int err = errno;
    if (err == ENOTCONN) {
      return Error(Errc::kUsage,
                   what + ": a mount whose daemon is gone lies there; take it away with: umount -l " +
                       mountpoint)
          .with_errno(err);
    }
    return Error::os(err, what);
  }
  if (!S_ISDIR(st.st_mode)) return Error::os(ENOTDIR, what);
  if (::geteuid() != 0 && ::access(absolute.get(), W_OK) != 0) return Error::os(errno, what);
  return std::string(absolute.get());
}

Result<void> check_fuse_usable(bool allow_other) {
  const UniqueFd device(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (!device) return Error::os(errno, kDevice);
  if (::geteuid() == 0) return {};
  if (!in_path(kHelper)) {
    return Error(Errc::kUsage,
                 std::string(kHelper) + ": not found; ordinary users need it (Debian package fuse3)");
  }
  if (allow_other && !allows_others(kConfiguration)) {
    return Error(Errc::kUsage, std::string("allow_other: needs user_allow_other in ") + kConfiguration);
  }
  return {};
}

bool allows_others(const std::string& fuse_conf) {
  std::ifstream file(fuse_conf);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    if (words >> word && word == "user_allow_other") return true;
  }
  return false;
}

}  // namespace rsyncfs
