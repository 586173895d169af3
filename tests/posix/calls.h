// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rsyncfs::posix_tests {

// The file system calls that the checkers make, each once and as they are: a result of 0 or more, or minus
// the errno. Virtual, so that a checker can be shown a file system that errs (lies.h). Names are whole paths;
// nothing follows a symbolic link at the end of one but open, truncate, chmod and stat.
class Calls {
 public:
  Calls() = default;
  virtual ~Calls() = default;
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  virtual int open(const std::string& path, int flags, mode_t mode = 0);
  virtual int close(int fd);
  virtual ssize_t pread(int fd, std::span<char> into, off_t offset);
  virtual ssize_t pwrite(int fd, std::string_view data, off_t offset);
  virtual ssize_t read(int fd, std::span<char> into);
  virtual ssize_t write(int fd, std::string_view data);
  virtual int ftruncate(int fd, off_t size);
  virtual int truncate(const std::string& path, off_t size);
  virtual int fallocate(int fd, int mode, off_t offset, off_t length);
  virtual ssize_t copy_range(int from, off_t from_offset, int to, off_t to_offset, size_t length);
  // Through a shared mapping of the pages around; within the size of the file. A write ends with
  // msync(MS_SYNC).
  virtual int map_read(int fd, std::span<char> into, off_t offset);
  virtual int map_write(int fd, std::string_view data, off_t offset);
  virtual int fsync(int fd);

  virtual int mkdir(const std::string& path, mode_t mode);
  virtual int rmdir(const std::string& path);
  virtual int unlink(const std::string& path);
  virtual int rename(const std::string& from, const std::string& to, unsigned flags = 0);  // RENAME_*
  virtual int link(const std::string& from, const std::string& to);
  virtual int symlink(const std::string& target, const std::string& path);
  virtual int readlink(const std::string& path, std::string& target);
  virtual int mknod(const std::string& path, mode_t mode, dev_t device);

  virtual int chmod(const std::string& path, mode_t mode);
  virtual int chown(const std::string& path, uid_t uid, gid_t gid);
  virtual int set_times(const std::string& path, const timespec& access, const timespec& modification);
  virtual int lstat(const std::string& path, struct stat& attributes);
  virtual int stat(const std::string& path, struct stat& attributes);
  virtual int fstat(int fd, struct stat& attributes);

  virtual int set_xattr(const std::string& path, const std::string& name, std::string_view value,
                        int flags = 0);
  virtual ssize_t get_xattr(const std::string& path, const std::string& name, std::string& value);
  virtual int remove_xattr(const std::string& path, const std::string& name);
  virtual ssize_t list_xattrs(const std::string& path, std::vector<std::string>& names);  // sorted

  // The names but "." and "..", sorted bytewise.
  virtual int list(const std::string& path, std::vector<std::string>& names);
};

// "EEXIST"; "0" for 0.
std::string errno_name(int err);

// A whole file through `calls`; minus the errno of what failed.
int read_whole(Calls& calls, const std::string& path, std::string& into);
// All of it or a failure: pwrite and pread as often as it takes. A read may end early, at the end of the
// file.
int write_all(Calls& calls, int fd, std::string_view data, off_t offset);
ssize_t read_all(Calls& calls, int fd, std::span<char> into, off_t offset);

}  // namespace rsyncfs::posix_tests
