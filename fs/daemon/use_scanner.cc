// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/use_scanner.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include <climits>

namespace rsyncfs {
namespace {

using std::chrono::nanoseconds;

constexpr size_t kMaxProcesses = 32'768;
constexpr size_t kMaxDescriptors = 4'096;  // of one process
constexpr size_t kMaxInfoBytes = 1 << 20;  // of one descriptor
constexpr std::string_view kInotify = "anon_inode:inotify";

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

bool is_number(const char* name) {
  return *name != '\0' &&
         std::all_of(name, name + std::strlen(name), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<std::string> read_link(int directory, const char* name) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlinkat(directory, name, target.data(), target.size());
  if (length <= 0) return std::nullopt;
  return std::string(target.data(), static_cast<size_t>(length));
}

std::string read_all(int directory, const char* name) {
  std::string out;
  const int fd = ::openat(directory, name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return out;
  std::array<char, 65536> piece{};
  ssize_t count = 0;
  while (out.size() < kMaxInfoBytes && (count = ::read(fd, piece.data(), piece.size())) > 0)
    out.append(piece.data(), static_cast<size_t>(count));
  ::close(fd);
  return out;
}

// What is below the mountpoint; a working directory that was removed is no use.
std::optional<std::string> below(const std::string& mountpoint, const std::string& path) {
  constexpr std::string_view kDeleted = " (deleted)";
  if (!path.starts_with(mountpoint) || path.ends_with(kDeleted)) return std::nullopt;
  if (path.size() == mountpoint.size()) return std::string();
  if (path[mountpoint.size()] != '/') return std::nullopt;
  return path.substr(mountpoint.size() + 1);
}

Directory open_directory(int at, const char* name) {
  const int fd = ::openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  Directory directory(::fdopendir(fd));
  if (!directory) ::close(fd);
  return directory;
}

void scan_watches(int process, dev_t device, std::unordered_set<ino_t>& out) {
  const Directory descriptors = open_directory(process, "fd");
  if (!descriptors) return;
  size_t seen = 0;
  while (const dirent* entry = ::readdir(descriptors.get())) {
    if (!is_number(entry->d_name)) continue;
    if (++seen > kMaxDescriptors) return;
    const auto target = read_link(::dirfd(descriptors.get()), entry->d_name);
    if (!target || *target != kInotify) continue;
    add_watched(read_all(process, (std::string("fdinfo/") + entry->d_name).c_str()), device, out);
  }
}

nanoseconds thread_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

}  // namespace

// "inotify wd:2 ino:1a7 sdev:2d mask:...", numbers in hexadecimal; sdev is the kernel's own form of a device.
void add_watched(std::string_view fdinfo, dev_t device, std::unordered_set<ino_t>& out) {
  constexpr unsigned kMinorBits = 20;
  const uint64_t wanted = (static_cast<uint64_t>(major(device)) << kMinorBits) | minor(device);
  const auto number = [](std::string_view line, std::string_view key) -> std::optional<uint64_t> {
    const size_t at = line.find(key);
    if (at == std::string_view::npos) return std::nullopt;
    const char* const begin = line.data() + at + key.size();
    uint64_t value = 0;
    const auto parsed = std::from_chars(begin, line.data() + line.size(), value, 16);
    if (parsed.ec != std::errc()) return std::nullopt;
    return value;
  };
  while (!fdinfo.empty()) {
    const size_t end = std::min(fdinfo.find('\n'), fdinfo.size());
    const std::string_view line = fdinfo.substr(0, end);
    fdinfo.remove_prefix(std::min(end + 1, fdinfo.size()));
    if (!line.starts_with("inotify ")) continue;
    const auto inode = number(line, " ino:");
    const auto on = number(line, " sdev:");
    if (inode && on && *on == wanted) out.insert(static_cast<ino_t>(*inode));
  }
}

FoundUses scan_uses(const std::string& mountpoint, dev_t device) {
  FoundUses out;
  const Directory processes = open_directory(AT_FDCWD, "/proc");
  if (!processes) return out;
  const std::string self = std::to_string(::getpid());
  size_t seen = 0;
  while (const dirent* entry = ::readdir(processes.get())) {
    if (!is_number(entry->d_name) || self == entry->d_name) continue;
    if (++seen > kMaxProcesses) break;
    const int process = ::openat(::dirfd(processes.get()), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (process < 0) continue;
    if (const auto cwd = read_link(process, "cwd")) {
      if (auto path = below(mountpoint, *cwd)) out.working_directories.push_back(std::move(*path));
    }
    scan_watches(process, device, out.watched);
    ::close(process);
  }
  std::sort(out.working_directories.begin(), out.working_directories.end());
  const auto last = std::unique(out.working_directories.begin(), out.working_directories.end());
  out.working_directories.erase(last, out.working_directories.end());
  return out;
}

UseScanner::UseScanner(std::string mountpoint, dev_t device, Found found)
    : mountpoint_(std::move(mountpoint)),
      device_(device),
      found_(std::move(found)),
      thread_([this] { run(); }) {}

UseScanner::~UseScanner() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

void UseScanner::run() {
  ::pthread_setname_np(::pthread_self(), "uses");
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  std::unique_lock lock(mutex_);
  while (!ending_) {
    lock.unlock();
    const nanoseconds before = thread_time();
    found_(scan_uses(mountpoint_, device_));
    const nanoseconds cost = thread_time() - before;
    lock.lock();
    const nanoseconds pause = std::max<nanoseconds>(kShortest, cost * kShare);
    wake_.wait_for(lock, pause, [this] { return ending_; });
  }
}

}  // namespace rsyncfs
