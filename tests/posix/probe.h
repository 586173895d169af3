// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "tests/posix/calls.h"

namespace rsyncfs::posix_tests {

struct Line {
  std::string call;
  std::string result;
  bool operator==(const Line&) const = default;
};

// Ends a case: the file system does not offer what it is about, and says so.
struct Refusal {
  std::string what;
};

// One case at work in one directory: makes calls and writes down each with its result. What two file systems
// need not agree upon (descriptors, inode numbers, moments) is never written down, only how it relates:
// note(). Names are relative to the directory.
class Probe {
 public:
  Probe(Calls& calls, std::string directory) : calls_(calls), directory_(std::move(directory)) {}

  Calls& calls() { return calls_; }
  std::string path(std::string_view name) const { return directory_ + "/" + std::string(name); }
  const std::string& directory() const { return directory_; }
  const std::vector<Line>& lines() const { return lines_; }

  // Each returns the result: 0 or more, or minus the errno.
  int open(const std::string& name, int flags, mode_t mode = 0644);
  int close(int fd) { return calls_.close(fd); }
  int pwrite(int fd, std::string_view data, off_t offset);
  int write(int fd, std::string_view data);
  // What it got, which is written down as contents.
  std::string pread(int fd, size_t size, off_t offset);
  int ftruncate(int fd, off_t size);
  int truncate(const std::string& name, off_t size);
  int fallocate(int fd, int mode, off_t offset, off_t length);
  int copy_range(int from, off_t from_offset, int to, off_t to_offset, size_t length);
  int map_write(int fd, std::string_view data, off_t offset);
  std::string map_read(int fd, size_t size, off_t offset);
  int mkdir(const std::string& name, mode_t mode = 0755);
  int rmdir(const std::string& name);
  int unlink(const std::string& name);
  int rename(const std::string& from, const std::string& to, unsigned flags = 0);
  int link(const std::string& from, const std::string& to);
  int symlink(const std::string& target, const std::string& name);
  int mknod(const std::string& name, mode_t mode, dev_t device = 0);
  int chmod(const std::string& name, mode_t mode);
  int chown(const std::string& name, uid_t uid, gid_t gid);
  int set_times(const std::string& name, const timespec& access, const timespec& modification);
  int set_xattr(const std::string& name, const std::string& attribute, std::string_view value, int flags = 0);
  int get_xattr(const std::string& name, const std::string& attribute);
  int remove_xattr(const std::string& name, const std::string& attribute);

  // A new file with these contents.
  int file(const std::string& name, std::string_view contents = "", mode_t mode = 0644);

  // Looks, and writes down what it saw: type, mode, link count, owner, size, device, modification time where
  // the case set it; of directories no size.
  void attributes(const std::string& name);
  void attributes(int fd, const std::string& what);
  void contents(const std::string& name);
  void target(const std::string& name);
  void names(const std::string& directory = ".");
  void xattrs(const std::string& name);
  void times(const std::string& name);  // of access and modification, ns

  // Not written down.
  struct stat status(const std::string& name);

  void note(const std::string& what, const std::string& value) { lines_.push_back({what, value}); }
  void note(const std::string& what, bool value) { note(what, std::string(value ? "yes" : "no")); }
  void note(const std::string& what, int64_t value) { note(what, std::to_string(value)); }
  // A call made elsewhere: `result` is 0 or more, or minus the errno.
  int call(const std::string& what, int64_t result);

  // Ends the case with a refusal if the result is one of these errnos.
  static int may_refuse(int result, std::initializer_list<int> errnos, std::string_view what);

  // With this user's rights on files, and no others.
  static void as_user(uid_t uid, gid_t gid, const std::function<void()>& body);

 private:
  Calls& calls_;
  std::string directory_;
  std::vector<Line> lines_;
};

// What the C library returned, as `call` takes it.
inline int64_t raw(int64_t returned) {
  return returned < 0 ? -errno : returned;
}

// Text for people: short ones as they are, long ones as their length and a digest.
std::string summary(std::string_view bytes);

// Until a clock that ticks every 10 ms has moved.
void let_a_tick_pass();

inline bool earlier(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

}  // namespace rsyncfs::posix_tests
