// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

namespace rsyncfs {
namespace {

constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;
constexpr size_t kMaxPidDigits = 32;

std::string hex16(uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) out[i] = kDigits[value & 0xf];
  return out;
}

Result<void> make_directory(const std::string& path) {
  if (mkdir(path.c_str(), kDirectoryMode) != 0 && errno != EEXIST) return Error::os(errno, path);
  return {};
}

// Like mkdir -p; only the last one is ours to judge.
Result<void> make_directories(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (auto done = make_directory(path.substr(0, slash)); !done) return done;
  }
  return make_directory(path);
}

Result<void> check_private(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return Error::os(errno, path);
  if (!S_ISDIR(status.st_mode)) return Error::os(ENOTDIR, path);
  if (status.st_uid != geteuid()) return Error(Errc::kRefused, path + " belongs to another user");
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Error(Errc::kRefused, "others may write to " + path);
  return {};
}

std::string read_short(int fd) {
  std::array<char, kMaxPidDigits> buffer{};
  const ssize_t got = pread(fd, buffer.data(), buffer.size(), 0);
  std::string text(buffer.data(), got < 0 ? 0 : static_cast<size_t>(got));
  return text.substr(0, text.find('\n'));
}

bool is_at(int fd, const std::string& path) {
  struct stat open {};
  struct stat there {};
  return fstat(fd, &open) == 0 && stat(path.c_str(), &there) == 0 && open.st_dev == there.st_dev &&
         open.st_ino == there.st_ino;
}

Result<OwnedFd> lock_directory(const std::string& path) {
  const std::string file = path + "/lock";
  OwnedFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode));
  if (!fd && errno != ENOENT) return Error::os(errno, file);
  const Error moved = Error(Errc::kRefused, path + " is being removed by another process").with_errno(EBUSY);
  if (!fd) return moved;
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Error::os(errno, file);
    const std::string holder = read_short(fd.get());
    return Error(Errc::kRefused, path + " is in use by process " + (holder.empty() ? "(unknown)" : holder))
        .with_errno(EBUSY);
  }
  if (!is_at(fd.get(), file)) return moved;
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd.get(), 0) != 0 || pwrite(fd.get(), pid.data(), pid.size(), 0) < 0)
    return Error::os(errno, file);
  return fd;
}

}  // namespace

OwnedFd& OwnedFd::operator=(OwnedFd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

Result<StateDirectory> StateDirectory::open(const std::string& path) {
  StateDirectory out;
  out.path_ = path;
  while (out.path_.size() > 1 && out.path_.back() == '/') out.path_.pop_back();
  if (out.path_.empty()) return Error(Errc::kUsage, "the store has no directory");
  if (auto done = make_directories(out.path_); !done) return done.error();
  if (auto done = check_private(out.path_); !done) return done.error();
  auto lock = lock_directory(out.path_);
  if (!lock) return lock.error();
  out.lock_ = std::move(*lock);
  if (auto done = make_directory(out.slabs()); !done) return done.error();
  if (auto done = make_directory(out.blocks()); !done) return done.error();
  return out;
}

std::string StateDirectory::slab(uint64_t id) const {
  return slabs() + "/" + hex16(id);
}

std::string StateDirectory::block_file(uint64_t id) const {
  const std::string name = hex16(id);
  return blocks() + "/" + name.substr(14) + "/" + name;
}

std::string boot_id() {
  const OwnedFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::array<char, 64> buffer{};
  const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
  const std::string text(buffer.data(), got < 0 ? 0 : static_cast<size_t>(got));
  return text.substr(0, text.find('\n'));
}

uint64_t file_number(std::string_view name) {
  if (name.size() != 16) return 0;
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), value, 16);
  return code == std::errc() && end == name.data() + name.size() ? value : 0;
}

}  // namespace rsyncfs
