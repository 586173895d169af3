// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/password.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

constexpr size_t kMaxPasswordBytes = 511;  // as rsync reads it

// As many links as the kernel follows.
constexpr int kMaxLinks = 40;

Result<std::string> link_target(int link, const std::string& name, uid_t reader) {
  struct stat info {};
  if (fstat(link, &info) != 0) return Error::os(errno, name);
  // Planted by someone else it would send the first line of any file that we can read to the server.
  if (info.st_uid != 0 && info.st_uid != reader) {
    return Error(Errc::kRefused, name + " is another user's symbolic link");
  }
  std::array<char, PATH_MAX> target{};
  const ssize_t size = readlinkat(link, "", target.data(), target.size());
  if (size < 0) return Error::os(errno, name);
  return std::string(target.data(), static_cast<size_t>(size));
}

// Opens `path` step by step, so that the links that were checked are the ones that lead to it: whoever may
// write to a directory on the way can exchange its entries at any moment. Does not wait for a FIFO's writer.
Result<UniqueFd> open_checked(const std::string& path, uid_t reader) {
  constexpr int kStep = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  constexpr int kFile = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  const std::string what = "password file " + path;
  UniqueFd at(open(path.starts_with('/') ? "/" : ".", kStep | O_DIRECTORY));
  std::string rest = path;
  int links = 0;
  while (at) {
    const size_t begin = rest.find_first_not_of('/');
    if (begin == std::string::npos) return Error::os(EISDIR, what);
    const std::string name = rest.substr(begin, rest.find('/', begin) - begin);
    rest.erase(0, begin + name.size());
    UniqueFd step(openat(at.get(), name.c_str(), kStep));
    struct stat info {};
    if (!step || fstat(step.get(), &info) != 0) break;
    if (S_ISLNK(info.st_mode)) {
      if (++links > kMaxLinks) return Error::os(ELOOP, what);
      const Result<std::string> target = link_target(step.get(), name, reader);
      if (!target) return target.error().with_context(what);
      rest.insert(0, *target);
      if (rest.starts_with('/')) at = UniqueFd(open("/", kStep | O_DIRECTORY));
    } else if (rest.empty()) {
      at = UniqueFd(openat(at.get(), name.c_str(), kFile));
      if (at) return at;
    } else {
      at = std::move(step);
    }
  }
  return Error::os(errno, what);
}

Result<std::string> read_some(int fd, const std::string& name) {
  std::array<char, kMaxPasswordBytes> buffer{};
  std::string text;
  while (text.size() < buffer.size()) {
    const ssize_t got = read(fd, buffer.data(), buffer.size() - text.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::os(errno, "cannot read " + name);
    if (got == 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
    // A terminal or pipe gives a line at a time, and the first one is all that is wanted.
    if (text.find_first_not_of("\r\n") != std::string::npos && text.back() == '\n') break;
  }
  return text;
}

Result<std::string> first_line(const std::string& text, const std::string& name) {
  const size_t begin = text.find_first_not_of("\r\n");
  if (begin == std::string::npos) return Error(Errc::kRefused, name + " holds no password");
  return text.substr(begin, text.find_first_of("\r\n", begin) - begin);
}

}  // namespace

Result<std::string> read_password_file(const std::string& path, uid_t reader) {
  if (path == "-") {
    const Result<std::string> text = read_some(STDIN_FILENO, "standard input");
    return text ? first_line(*text, "standard input") : text;
  }
  const Result<UniqueFd> opened = open_checked(path, reader);
  if (!opened && opened.error().os_errno() == ENOENT) {
    return Error(Errc::kOs,
                 opened.error().message() + "; it is one line with the password, for you alone (chmod 600)")
        .with_errno(ENOENT);
  }
  if (!opened) return opened.error();
  const UniqueFd& fd = *opened;
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return Error::os(errno, "password file " + path);
  if (!S_ISREG(info.st_mode)) {
    return Error(Errc::kRefused, "password file " + path + " is not a regular file");
  }
  if ((info.st_mode & (S_IROTH | S_IWOTH)) != 0) {
    return Error(Errc::kRefused, "password file " + path + " must not be accessible to others (chmod o-rw)");
  }
  if (reader == 0 && info.st_uid != 0) {
    return Error(Errc::kRefused,
                 "password file " + path + " must be owned by root when root reads it (chown root)");
  }
  const Result<std::string> text = read_some(fd.get(), "password file " + path);
  return text ? first_line(*text, "password file " + path) : text;
}

}  // namespace rsyncfs
