// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/posix/probe.h"

#include <sys/fsuid.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <thread>
#include <utility>

#include "tests/support/files.h"

namespace rsyncfs::posix_tests {
namespace {

constexpr size_t kLongestShown = 80;

std::string octal(mode_t mode) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%06o", mode);
  return text.data();
}

std::string flags_text(int flags) {
  static const std::pair<int, const char*> kNames[] = {
      {O_CREAT, "CREAT"},   {O_EXCL, "EXCL"},         {O_TRUNC, "TRUNC"},       {O_APPEND, "APPEND"},
      {O_DIRECT, "DIRECT"}, {O_NOFOLLOW, "NOFOLLOW"}, {O_NONBLOCK, "NONBLOCK"}, {O_DSYNC, "DSYNC"}};
  static const char* const kAccess[] = {"RDONLY", "WRONLY", "RDWR", "3"};
  std::string out = kAccess[flags & O_ACCMODE];
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    out += "|TMPFILE";
  } else if ((flags & O_DIRECTORY) != 0) {
    out += "|DIRECTORY";
  }
  if ((flags & O_PATH) != 0) out += "|PATH";
  for (const auto& [bit, name] : kNames) {
    if ((flags & bit) == bit) out += std::string("|") + name;
  }
  return out;
}

std::string shown(const std::string& name) {
  return name.size() <= kLongestShown ? support::printable(name) : std::to_string(name.size()) + " bytes";
}

std::string time_text(const timespec& time) {
  return std::to_string(time.tv_sec) + " s " + std::to_string(time.tv_nsec) + " ns";
}

std::string attributes_text(const struct stat& status) {
  std::string out = octal(status.st_mode) + " owner " + std::to_string(status.st_uid) + ":" +
                    std::to_string(status.st_gid) + " links " + std::to_string(status.st_nlink);
  if (S_ISREG(status.st_mode) || S_ISLNK(status.st_mode)) out += " size " + std::to_string(status.st_size);
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    out += " device " + std::to_string(major(status.st_rdev)) + ":" + std::to_string(minor(status.st_rdev));
  }
  return out;
}

}  // namespace

std::string summary(std::string_view bytes) {
  if (bytes.size() <= kLongestShown) return "\"" + support::printable(bytes) + "\"";
  return std::to_string(bytes.size()) + " bytes of hash " +
         std::to_string(std::hash<std::string_view>()(bytes));
}

void let_a_tick_pass() {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

int Probe::call(const std::string& what, int64_t result) {
  note(what, result < 0 ? errno_name(static_cast<int>(-result)) : std::to_string(result));
  return static_cast<int>(result);
}

int Probe::open(const std::string& name, int flags, mode_t mode) {
  const int fd = calls_.open(path(name), flags, mode);
  note("open " + shown(name) + " " + flags_text(flags) + " " + octal(mode),
       fd < 0 ? errno_name(-fd) : "a descriptor");
  return fd;
}
int Probe::pwrite(int fd, std::string_view data, off_t offset) {
  return call("pwrite " + std::to_string(data.size()) + " at " + std::to_string(offset),
              calls_.pwrite(fd, data, offset));
}
int Probe::write(int fd, std::string_view data) {
  return call("write " + std::to_string(data.size()), calls_.write(fd, data));
}

std::string Probe::pread(int fd, size_t size, off_t offset) {
  std::string out(size, '\0');
  const ssize_t got = read_all(calls_, fd, out, offset);
  out.resize(got < 0 ? 0 : static_cast<size_t>(got));
  note("pread " + std::to_string(size) + " at " + std::to_string(offset),
       got < 0 ? errno_name(static_cast<int>(-got)) : summary(out));
  return out;
}

int Probe::ftruncate(int fd, off_t size) {
  return call("ftruncate to " + std::to_string(size), calls_.ftruncate(fd, size));
}
int Probe::truncate(const std::string& name, off_t size) {
  return call("truncate " + shown(name) + " to " + std::to_string(size), calls_.truncate(path(name), size));
}
int Probe::fallocate(int fd, int mode, off_t offset, off_t length) {
  return call(
      "fallocate mode " + std::to_string(mode) + " " + std::to_string(offset) + "+" + std::to_string(length),
      calls_.fallocate(fd, mode, offset, length));
}
int Probe::copy_range(int from, off_t from_offset, int to, off_t to_offset, size_t length) {
  return call("copy_file_range " + std::to_string(from_offset) + "+" + std::to_string(length) + " to " +
                  std::to_string(to_offset),
              calls_.copy_range(from, from_offset, to, to_offset, length));
}
int Probe::map_write(int fd, std::string_view data, off_t offset) {
  return call("write " + std::to_string(data.size()) + " into a map at " + std::to_string(offset),
              calls_.map_write(fd, data, offset));
}

std::string Probe::map_read(int fd, size_t size, off_t offset) {
  std::string out(size, '\0');
  const int result = calls_.map_read(fd, out, offset);
  if (result < 0) out.clear();
  note("read a map at " + std::to_string(offset), result < 0 ? errno_name(-result) : summary(out));
  return out;
}

int Probe::mkdir(const std::string& name, mode_t mode) {
  return call("mkdir " + shown(name) + " " + octal(mode), calls_.mkdir(path(name), mode));
}
int Probe::rmdir(const std::string& name) {
  return call("rmdir " + shown(name), calls_.rmdir(path(name)));
}
int Probe::unlink(const std::string& name) {
  return call("unlink " + shown(name), calls_.unlink(path(name)));
}
int Probe::rename(const std::string& from, const std::string& to, unsigned flags) {
  return call("rename " + shown(from) + " to " + shown(to) + " flags " + std::to_string(flags),
              calls_.rename(path(from), path(to), flags));
}
int Probe::link(const std::string& from, const std::string& to) {
  return call("link " + shown(from) + " as " + shown(to), calls_.link(path(from), path(to)));
}
int Probe::symlink(const std::string& target, const std::string& name) {
  return call("symlink " + shown(name) + " to " + shown(target), calls_.symlink(target, path(name)));
}
int Probe::mknod(const std::string& name, mode_t mode, dev_t device) {
  return call("mknod " + shown(name) + " " + octal(mode), calls_.mknod(path(name), mode, device));
}
int Probe::chmod(const std::string& name, mode_t mode) {
  return call("chmod " + shown(name) + " " + octal(mode), calls_.chmod(path(name), mode));
}
int Probe::chown(const std::string& name, uid_t uid, gid_t gid) {
  return call("chown " + shown(name) + " " + std::to_string(static_cast<int64_t>(static_cast<int>(uid))) +
                  ":" + std::to_string(static_cast<int64_t>(static_cast<int>(gid))),
              calls_.chown(path(name), uid, gid));
}
int Probe::set_times(const std::string& name, const timespec& access, const timespec& modification) {
  return call("utimensat " + shown(name) + " " + time_text(access) + ", " + time_text(modification),
              calls_.set_times(path(name), access, modification));
}
int Probe::set_xattr(const std::string& name, const std::string& attribute, std::string_view value,
                     int flags) {
  return call("setxattr " + shown(name) + " " + shown(attribute) + " " + std::to_string(value.size()) +
                  " bytes, flags " + std::to_string(flags),
              calls_.set_xattr(path(name), attribute, value, flags));
}

int Probe::get_xattr(const std::string& name, const std::string& attribute) {
  std::string value;
  const ssize_t result = calls_.get_xattr(path(name), attribute, value);
  note("getxattr " + shown(name) + " " + shown(attribute),
       result < 0 ? errno_name(static_cast<int>(-result)) : summary(value));
  return static_cast<int>(result);
}

int Probe::remove_xattr(const std::string& name, const std::string& attribute) {
  return call("removexattr " + shown(name) + " " + shown(attribute),
              calls_.remove_xattr(path(name), attribute));
}

int Probe::file(const std::string& name, std::string_view contents, mode_t mode) {
  const int fd = calls_.open(path(name), O_CREAT | O_EXCL | O_WRONLY, mode);
  int result = fd < 0 ? fd : write_all(calls_, fd, contents, 0);
  if (fd >= 0) calls_.close(fd);
  return call("a new file " + shown(name) + " of " + std::to_string(contents.size()) + " bytes", result);
}

void Probe::attributes(const std::string& name) {
  struct stat status {};
  const int result = calls_.lstat(path(name), status);
  note("lstat " + shown(name), result < 0 ? errno_name(-result) : attributes_text(status));
}

void Probe::attributes(int fd, const std::string& what) {
  struct stat status {};
  const int result = calls_.fstat(fd, status);
  note("fstat " + what, result < 0 ? errno_name(-result) : attributes_text(status));
}

void Probe::contents(const std::string& name) {
  std::string bytes;
  const int result = read_whole(calls_, path(name), bytes);
  note("contents of " + shown(name), result < 0 ? errno_name(-result) : summary(bytes));
}

void Probe::target(const std::string& name) {
  std::string text;
  const int result = calls_.readlink(path(name), text);
  note("readlink " + shown(name), result < 0 ? errno_name(-result) : summary(text));
}

void Probe::names(const std::string& directory) {
  std::vector<std::string> found;
  const int result = calls_.list(path(directory), found);
  std::string text;
  for (const std::string& name : found) text += (text.empty() ? "" : " ") + support::printable(name);
  note("names in " + shown(directory), result < 0 ? errno_name(-result) : summary(text));
}

void Probe::xattrs(const std::string& name) {
  std::vector<std::string> found;
  const ssize_t result = calls_.list_xattrs(path(name), found);
  std::string text;
  for (const std::string& each : found) text += (text.empty() ? "" : " ") + support::printable(each);
  note("listxattr " + shown(name), result < 0 ? errno_name(static_cast<int>(-result)) : summary(text));
}

void Probe::times(const std::string& name) {
  struct stat status {};
  const int result = calls_.lstat(path(name), status);
  note("times of " + shown(name),
       result < 0 ? errno_name(-result) : time_text(status.st_atim) + ", " + time_text(status.st_mtim));
}

struct stat Probe::status(const std::string& name) {
  struct stat status {};
  const int result = calls_.lstat(path(name), status);
  if (result < 0) call("lstat " + shown(name), result);
  return status;
}

int Probe::may_refuse(int result, std::initializer_list<int> errnos, std::string_view what) {
  for (const int each : errnos) {
    if (result == -each) throw Refusal{std::string(what) + ": " + errno_name(each)};
  }
  return result;
}

void Probe::as_user(uid_t uid, gid_t gid, const std::function<void()>& body) {
  struct Own {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
    ~Own() {
      ::setfsuid(uid);
      ::setfsgid(gid);
    }
  } own;
  ::setfsgid(gid);
  ::setfsuid(uid);
  body();
}

}  // namespace rsyncfs::posix_tests
