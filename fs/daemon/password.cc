// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/password.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "io/base/unique_fd.h"

namespace rsyncfs {
namespace {

constexpr size_t kMaxPasswordBytes = 511;  // as rsync reads it

// A link planted by someone else would send the first line of any file that we can read to the server.
Result<void> check_links(const std::string& path, uid_t reader) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    struct stat info {};
    if (lstat(part.c_str(), &info) == 0 && S_ISLNK(info.st_mode) && info.st_uid != 0 &&
        info.st_uid != reader) {
      return Error(Errc::kRefused, part + " is another user's symbolic link")
          .with_context("password file " + path);
    }
    if (end == std::string::npos) return {};
  }
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
  if (const Result<void> checked = check_links(path, reader); !checked) return checked.error();
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return Error::os(errno, "password file " + path);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return Error::os(errno, "password file " + path);
  if ((info.st_mode & (S_IROTH | S_IWOTH)) != 0) {
    return Error(Errc::kRefused, "password file " + path + " must not be accessible to others (chmod o-rw)");
  }
  if (reader == 0 && info.st_uid != 0) {
    return Error(Errc::kRefused, "password file " + path + " must be owned by root when root reads it");
  }
  const Result<std::string> text = read_some(fd.get(), "password file " + path);
  return text ? first_line(*text, "password file " + path) : text;
}

}  // namespace rsyncfs
