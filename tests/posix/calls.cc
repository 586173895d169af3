// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace rsyncfs::posix_tests {
namespace {

constexpr size_t kLargestXattrList = 64 * 1024;  // XATTR_LIST_MAX

template <class T>
T result_of(T returned) {
  return returned < 0 ? static_cast<T>(-errno) : returned;
}

// Some pages of a file, mapped while this lives.
class Mapping {
 public:
  Mapping(int fd, off_t offset, size_t length, int protection) {
    const off_t page = ::sysconf(_SC_PAGESIZE);
    const off_t begin = offset / page * page;
    skip_ = static_cast<size_t>(offset - begin);
    length_ = skip_ + length;
    void* at = ::mmap(nullptr, length_, protection, MAP_SHARED, fd, begin);
    if (at == MAP_FAILED) {
      error_ = errno;
    } else {
      pages_ = at;
    }
  }
  ~Mapping() {
    if (pages_ != nullptr) ::munmap(pages_, length_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  int error() const { return error_; }
  char* data() const { return static_cast<char*>(pages_) + skip_; }
  int sync() const { return result_of(::msync(pages_, length_, MS_SYNC)); }

 private:
  void* pages_ = nullptr;
  size_t length_ = 0;
  size_t skip_ = 0;
  int error_ = 0;
};

}  // namespace

int Calls::open(const std::string& path, int flags, mode_t mode) {
  return result_of(::open(path.c_str(), flags | O_CLOEXEC, mode));
}
int Calls::close(int fd) {
  return result_of(::close(fd));
}
ssize_t Calls::pread(int fd, std::span<char> into, off_t offset) {
  return result_of(::pread(fd, into.data(), into.size(), offset));
}
ssize_t Calls::pwrite(int fd, std::string_view data, off_t offset) {
  return result_of(::pwrite(fd, data.data(), data.size(), offset));
}
ssize_t Calls::read(int fd, std::span<char> into) {
  return result_of(::read(fd, into.data(), into.size()));
}
ssize_t Calls::write(int fd, std::string_view data) {
  return result_of(::write(fd, data.data(), data.size()));
}
int Calls::ftruncate(int fd, off_t size) {
  return result_of(::ftruncate(fd, size));
}
int Calls::truncate(const std::string& path, off_t size) {
  return result_of(::truncate(path.c_str(), size));
}
int Calls::fallocate(int fd, int mode, off_t offset, off_t length) {
  return result_of(::fallocate(fd, mode, offset, length));
}
ssize_t Calls::copy_range(int from, off_t from_offset, int to, off_t to_offset, size_t length) {
  return result_of(::copy_file_range(from, &from_offset, to, &to_offset, length, 0));
}

int Calls::map_read(int fd, std::span<char> into, off_t offset) {
  const Mapping mapping(fd, offset, into.size(), PROT_READ);
  if (mapping.error() != 0) return -mapping.error();
  std::memcpy(into.data(), mapping.data(), into.size());
  return 0;
}

int Calls::map_write(int fd, std::string_view data, off_t offset) {
  const Mapping mapping(fd, offset, data.size(), PROT_READ | PROT_WRITE);
  if (mapping.error() != 0) return -mapping.error();
  std::memcpy(mapping.data(), data.data(), data.size());
  return mapping.sync();
}

int Calls::fsync(int fd) {
  return result_of(::fsync(fd));
}
int Calls::mkdir(const std::string& path, mode_t mode) {
  return result_of(::mkdir(path.c_str(), mode));
}
int Calls::rmdir(const std::string& path) {
  return result_of(::rmdir(path.c_str()));
}
int Calls::unlink(const std::string& path) {
  return result_of(::unlink(path.c_str()));
}
int Calls::rename(const std::string& from, const std::string& to, unsigned flags) {
  if (flags == 0) return result_of(::rename(from.c_str(), to.c_str()));
  return result_of(::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}
int Calls::link(const std::string& from, const std::string& to) {
  return result_of(::link(from.c_str(), to.c_str()));
}
int Calls::symlink(const std::string& target, const std::string& path) {
  return result_of(::symlink(target.c_str(), path.c_str()));
}
int Calls::readlink(const std::string& path, std::string& target) {
  target.assign(8192, '\0');
  const ssize_t length = result_of(::readlink(path.c_str(), target.data(), target.size()));
  target.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return static_cast<int>(length);
}
int Calls::mknod(const std::string& path, mode_t mode, dev_t device) {
  return result_of(::mknod(path.c_str(), mode, device));
}
int Calls::chmod(const std::string& path, mode_t mode) {
  return result_of(::chmod(path.c_str(), mode));
}
int Calls::chown(const std::string& path, uid_t uid, gid_t gid) {
  return result_of(::lchown(path.c_str(), uid, gid));
}
int Calls::set_times(const std::string& path, const timespec& access, const timespec& modification) {
  const timespec times[2] = {access, modification};
  return result_of(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW));
}
int Calls::lstat(const std::string& path, struct stat& attributes) {
  return result_of(::lstat(path.c_str(), &attributes));
}
int Calls::stat(const std::string& path, struct stat& attributes) {
  return result_of(::stat(path.c_str(), &attributes));
}
int Calls::fstat(int fd, struct stat& attributes) {
  return result_of(::fstat(fd, &attributes));
}

int Calls::set_xattr(const std::string& path, const std::string& name, std::string_view value, int flags) {
  return result_of(::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags));
}
ssize_t Calls::get_xattr(const std::string& path, const std::string& name, std::string& value) {
  value.assign(XATTR_SIZE_MAX, '\0');
  const ssize_t length = result_of(::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size()));
  value.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return length;
}
int Calls::remove_xattr(const std::string& path, const std::string& name) {
  return result_of(::lremovexattr(path.c_str(), name.c_str()));
}
ssize_t Calls::list_xattrs(const std::string& path, std::vector<std::string>& names) {
  std::string list(kLargestXattrList, '\0');
  const ssize_t length = result_of(::llistxattr(path.c_str(), list.data(), list.size()));
  names.clear();
  for (ssize_t at = 0; at < length;) {
    names.emplace_back(list.data() + at);
    at += static_cast<ssize_t>(names.back().size()) + 1;
  }
  std::sort(names.begin(), names.end());
  return length;
}

int Calls::list(const std::string& path, std::vector<std::string>& names) {
  names.clear();
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return -errno;
  errno = 0;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return -error;
}

std::string errno_name(int err) {
  if (err == 0) return "0";
  const char* name = ::strerrorname_np(err);
  return name != nullptr ? name : std::to_string(err);
}

int write_all(Calls& calls, int fd, std::string_view data, off_t offset) {
  while (!data.empty()) {
    const ssize_t wrote = calls.pwrite(fd, data, offset);
    if (wrote <= 0) return wrote < 0 ? static_cast<int>(wrote) : -EIO;
    data.remove_prefix(static_cast<size_t>(wrote));
    offset += wrote;
  }
  return 0;
}

ssize_t read_all(Calls& calls, int fd, std::span<char> into, off_t offset) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = calls.pread(fd, into.subspan(done), offset + static_cast<off_t>(done));
    if (got < 0) return got;
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return static_cast<ssize_t>(done);
}

int read_whole(Calls& calls, const std::string& path, std::string& into) {
  into.clear();
  const int fd = calls.open(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return fd;
  struct stat attributes {};
  int result = calls.fstat(fd, attributes);
  if (result >= 0) {
    // One byte more than it should have, to see a wrong size.
    into.resize(static_cast<size_t>(attributes.st_size) + 1);
    const ssize_t got = read_all(calls, fd, into, 0);
    into.resize(got < 0 ? 0 : static_cast<size_t>(got));
    result = got < 0 ? static_cast<int>(got) : 0;
  }
  calls.close(fd);
  return result;
}

}  // namespace rsyncfs::posix_tests
