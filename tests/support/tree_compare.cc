// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/tree_compare.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>

#include <climits>

#include "tests/support/files.h"

namespace rsyncfs::support {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

std::string octal(mode_t mode) {
  std::string text;
  for (int shift = 15; shift >= 0; shift -= 3) text += static_cast<char>('0' + ((mode >> shift) & 7));
  return text;
}

std::string time_text(const timespec& time) {
  const std::string nanoseconds = std::to_string(time.tv_nsec);
  return std::to_string(time.tv_sec) + "." + std::string(9 - std::min<size_t>(9, nanoseconds.size()), '0') +
         nanoseconds;
}

// One entry of one of the two trees, addressed so that no path length matters.
struct Entry {
  int dir_fd;
  std::string name;

  std::string proc_path() const { return "/proc/self/fd/" + std::to_string(dir_fd) + "/" + name; }
  int open_it(int flags) const { return openat(dir_fd, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC); }
};

class Comparison {
 public:
  explicit Comparison(const CompareOptions& options)
      : options_(options), expected_bytes_(kChunkBytes), actual_bytes_(kChunkBytes) {}

  void run(const std::string& expected, const std::string& actual) {
    const int fds[2] = {open(expected.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                        open(actual.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (fds[0] < 0 || fds[1] < 0) {
      differ(".", std::string("cannot be opened: ") + std::strerror(errno));
    } else if (options_.root_itself) {
      entry(".", {fds[0], "."}, {fds[1], "."});
    } else {
      directory("", fds[0], fds[1]);
    }
    for (int fd : fds) {
      if (fd >= 0) close(fd);
    }
  }

  std::vector<std::string> take() { return std::move(differences_); }

 private:
  bool full() const { return differences_.size() >= options_.most_differences; }
  void differ(const std::string& path, const std::string& what) {
    if (!full()) differences_.push_back(shown(path) + ": " + what);
  }
  // Deep paths would bury what differs; the end of a path tells most.
  static std::string shown(const std::string& path) {
    constexpr size_t kShown = 120;
    return path.size() <= kShown ? printable(path) : "..." + printable(path.substr(path.size() - kShown));
  }
  template <class T>
  void same(const std::string& path, const char* what, const T& expected, const T& actual) {
    if (expected != actual)
      differ(path, std::string(what) + " is " + text(actual) + ", should be " + text(expected));
  }
  static std::string text(const std::string& value) { return "\"" + printable(value.substr(0, 120)) + "\""; }
  template <class T>
  static std::string text(T value) {
    return std::to_string(value);
  }

  void entry(const std::string& path, const Entry& expected, const Entry& actual) {
    struct stat want {};
    struct stat have {};
    if (fstatat(expected.dir_fd, expected.name.c_str(), &want, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (fstatat(actual.dir_fd, actual.name.c_str(), &have, AT_SYMLINK_NOFOLLOW) != 0) {
      return differ(path, std::string("lstat: ") + std::strerror(errno));
    }
    attributes(path, want, have);
    if ((want.st_mode & S_IFMT) != (have.st_mode & S_IFMT)) return;
    if (options_.xattrs) same_xattrs(path, expected, actual);
    if (S_ISLNK(want.st_mode)) same(path, "target", target(expected), target(actual));
    const bool wanted = options_.contents && static_cast<uint64_t>(want.st_size) <= options_.contents_limit;
    if (S_ISREG(want.st_mode) && wanted) contents(path, expected, actual, want);
    if (S_ISDIR(want.st_mode)) open_directory(path, expected, actual);
  }

  void attributes(const std::string& path, const struct stat& want, const struct stat& have) {
    same(path, "mode", octal(want.st_mode), octal(have.st_mode));
    if (!S_ISDIR(want.st_mode) && options_.link_counts)
      same(path, "link count", want.st_nlink, have.st_nlink);
    if (options_.owners) {
      same(path, "owner", want.st_uid, have.st_uid);
      same(path, "group", want.st_gid, have.st_gid);
    }
    if (S_ISCHR(want.st_mode) || S_ISBLK(want.st_mode)) same(path, "device", want.st_rdev, have.st_rdev);
    // A directory's size says how its file system stores names.
    if (!S_ISDIR(want.st_mode)) same(path, "size", want.st_size, have.st_size);
    if (S_ISDIR(want.st_mode) && !options_.directory_times) return;
    timespec time = want.st_mtim;
    if (!options_.nanoseconds) time.tv_nsec = 0;
    same(path, "mtime", time_text(time), time_text(have.st_mtim));
  }

  static std::string target(const Entry& entry) {
    std::string text(PATH_MAX, '\0');
    const ssize_t size = readlinkat(entry.dir_fd, entry.name.c_str(), text.data(), text.size());
    if (size < 0) return std::string("readlink: ") + std::strerror(errno);
    text.resize(static_cast<size_t>(size));
    return text;
  }

  static std::map<std::string, std::string> xattrs_of(const Entry& entry) {
    std::map<std::string, std::string> found;
    const std::string path = entry.proc_path();
    std::string names(XATTR_LIST_MAX, '\0');
    const ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
    if (size < 0 && errno != EOPNOTSUPP) found["(list)"] = std::strerror(errno);
    names.resize(size > 0 ? static_cast<size_t>(size) : 0);
    for (size_t at = 0; at < names.size(); at = names.find('\0', at) + 1) {
      const char* name = names.data() + at;
      if (std::string_view(name).rfind("user.rsyncfs.", 0) == 0) continue;
      std::string value(XATTR_SIZE_MAX, '\0');
      const ssize_t got = lgetxattr(path.c_str(), name, value.data(), value.size());
      if (got < 0) value = std::string("(") + std::strerror(errno) + ")";
      if (got >= 0) value.resize(static_cast<size_t>(got));
      found[name] = std::move(value);
    }
    return found;
  }

  void same_xattrs(const std::string& path, const Entry& expected, const Entry& actual) {
    const auto want = xattrs_of(expected);
    const auto have = xattrs_of(actual);
    for (const auto& [name, value] : want) {
      const auto it = have.find(name);
      if (it == have.end()) {
        differ(path, "xattr " + name + " is missing");
      } else if (it->second != value) {
        differ(path, "xattr " + name + " (" + std::to_string(it->second.size()) + " bytes) is " +
                         text(it->second) + ", should be (" + std::to_string(value.size()) + " bytes) " +
                         text(value));
      }
    }
    for (const auto& [name, value] : have) {
      if (want.count(name) == 0) differ(path, "xattr " + name + " is extra");
    }
  }

  void contents(const std::string& path, const Entry& expected, const Entry& actual,
                const struct stat& want) {
    const int want_fd = expected.open_it(O_RDONLY);
    const int have_fd = actual.open_it(O_RDONLY);
    if (have_fd < 0) differ(path, std::string("open: ") + std::strerror(errno));
    if (want_fd >= 0 && have_fd >= 0) {
      const auto size = static_cast<uint64_t>(want.st_size);
      // One byte more than there should be, so that a longer file is seen.
      for (uint64_t at = 0; at <= size; at += kChunkBytes) {
        if (!chunk(path, want_fd, have_fd, at)) break;
      }
    }
    if (want_fd >= 0) close(want_fd);
    if (have_fd >= 0) close(have_fd);
  }

  // Up to kChunkBytes; the error text in place of bytes if reading fails.
  static ssize_t fill(int fd, std::vector<char>& into, uint64_t at) {
    size_t got = 0;
    while (got < into.size()) {
      const ssize_t n = pread(fd, into.data() + got, into.size() - got, static_cast<off_t>(at + got));
      if (n < 0) return -1;
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    return static_cast<ssize_t>(got);
  }

  bool chunk(const std::string& path, int want_fd, int have_fd, uint64_t at) {
    const ssize_t want = fill(want_fd, expected_bytes_, at);
    const ssize_t have = fill(have_fd, actual_bytes_, at);
    if (have < 0) differ(path, "read at " + std::to_string(at) + ": " + std::strerror(errno));
    if (have < 0 || want < 0) return false;
    if (want == have &&
        std::memcmp(expected_bytes_.data(), actual_bytes_.data(), static_cast<size_t>(want)) == 0) {
      return true;
    }
    const auto common = static_cast<ptrdiff_t>(std::min(want, have));
    const auto first =
        std::mismatch(expected_bytes_.begin(), expected_bytes_.begin() + common, actual_bytes_.begin());
    const auto offset = at + static_cast<uint64_t>(first.first - expected_bytes_.begin());
    differ(path, "contents differ from byte " + std::to_string(offset) + " (read " + std::to_string(have) +
                     " bytes there, should be " + std::to_string(want) + ")");
    return false;
  }

  void open_directory(const std::string& path, const Entry& expected, const Entry& actual) {
    const int want_fd = expected.open_it(O_RDONLY | O_DIRECTORY);
    const int have_fd = actual.open_it(O_RDONLY | O_DIRECTORY);
    if (have_fd < 0) differ(path, std::string("open: ") + std::strerror(errno));
    if (want_fd >= 0 && have_fd >= 0) directory(path == "." ? "" : path + "/", want_fd, have_fd);
    if (want_fd >= 0) close(want_fd);
    if (have_fd >= 0) close(have_fd);
  }

  std::vector<std::string> names(const std::string& path, int fd) {
    std::vector<std::string> out;
    DIR* dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir == nullptr) {
      differ(path, std::string("opendir: ") + std::strerror(errno));
      return out;
    }
    errno = 0;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") out.emplace_back(name);
      errno = 0;
    }
    if (errno != 0) differ(path, std::string("readdir: ") + std::strerror(errno));
    closedir(dir);
    std::sort(out.begin(), out.end());
    return out;
  }

  void directory(const std::string& prefix, int want_fd, int have_fd) {
    const std::vector<std::string> want = names(prefix, want_fd);
    const std::vector<std::string> have = names(prefix, have_fd);
    auto w = want.begin();
    auto h = have.begin();
    while ((w != want.end() || h != have.end()) && !full()) {
      if (h == have.end() || (w != want.end() && *w < *h)) {
        differ(prefix + *w++, "is missing");
      } else if (w == want.end() || *h < *w) {
        differ(prefix + *h++, "is extra");
      } else {
        entry(prefix + *w, {want_fd, *w}, {have_fd, *h});
        ++w;
        ++h;
      }
    }
  }

  const CompareOptions& options_;
  std::vector<char> expected_bytes_;
  std::vector<char> actual_bytes_;
  std::vector<std::string> differences_;
};

}  // namespace

std::vector<std::string> compare_trees(const std::string& expected, const std::string& actual,
                                       const CompareOptions& options) {
  Comparison comparison(options);
  comparison.run(expected, actual);
  return comparison.take();
}

std::string join_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace rsyncfs::support
