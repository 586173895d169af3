// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/replica/power_cut_disk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

namespace rsyncfs {
namespace {

constexpr size_t kBlockBytes = 4096;
constexpr size_t kLogHeaderBytes = 32;

std::atomic<bool> in_event{false};  // of all threads: what it causes may be done by others

struct Disk {
  std::function<void()> event;
  int error = 0;
  std::mutex mutex;
  std::string root;
  std::map<std::string, std::string> synced;                 // contents by path below the root
  std::map<std::string, std::set<std::string>> directories;  // names in directories, as they were synced
};

Disk& disk() {
  static Disk instance;
  return instance;
}

std::string contents_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

void remember(Disk& disk, const std::string& path) {
  std::error_code failure;
  if (std::filesystem::is_directory(path, failure)) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path, failure))
      names.insert(entry.path().filename());
    disk.directories[path] = std::move(names);
  } else if (std::filesystem::is_regular_file(path, failure)) {
    disk.synced[path] = contents_of(path);
  }
}

void remember_all(Disk& disk) {
  remember(disk, disk.root);
  std::error_code failure;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(disk.root, failure))
    remember(disk, entry.path());
}

int synced(int fd, bool everything) {
  std::array<char, 4096> target{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), target.data(), target.size());
  if (length <= 0) return 0;
  // Also makes "/..", which the kernel has resolved, what it is.
  const std::string path(target.data(), static_cast<size_t>(length));
  std::function<void()> event;
  {
    const std::lock_guard lock(disk().mutex);
    if (disk().root.empty() || !path.starts_with(disk().root)) return 0;
    if (disk().error != 0 && path.find("/blocks/") != std::string::npos) {
      errno = disk().error;
      return -1;
    }
    everything ? remember_all(disk()) : remember(disk(), path);
    event = disk().event;
  }
  if (event == nullptr || in_event.exchange(true)) return 0;
  event();
  in_event = false;
  return 0;
}

bool is_database(std::string_view path) {
  return path.find("/store.db") != std::string_view::npos;
}

// The log is only ever appended to, until it begins anew with another header.
std::string cut_log(const std::string& synced, const std::string& now, std::mt19937_64& random) {
  const bool same = synced.size() >= kLogHeaderBytes && now.size() >= synced.size() &&
                    synced.compare(0, kLogHeaderBytes, now, 0, kLogHeaderBytes) == 0;
  if (!same) return synced;
  if (random() % 3 == 0) return synced;
  if (random() % 2 == 0) return now;
  return now.substr(0, synced.size() + random() % (now.size() - synced.size() + 1));
}

std::string cut_file(const std::string& synced, const std::string& now, std::mt19937_64& random) {
  const uint64_t choice = random() % 3;
  std::string out(random() % 2 == 0 ? synced.size() : now.size(), '\0');
  for (size_t at = 0; at < out.size(); at += kBlockBytes) {
    const bool newer = choice == 0 || (choice == 1 && random() % 2 == 0);
    const std::string& from = newer && at < now.size() ? now : synced;
    if (at >= from.size()) continue;
    from.copy(out.data() + at, std::min(kBlockBytes, out.size() - at), at);
  }
  return out;
}

bool name_was_synced(const Disk& disk, const std::string& path) {
  const size_t slash = path.rfind('/');
  const auto directory = disk.directories.find(path.substr(0, slash));
  return directory != disk.directories.end() && directory->second.contains(path.substr(slash + 1));
}

// The name, and those of the directories that it is in.
bool is_reachable(const Disk& disk, std::string path) {
  while (path.size() > disk.root.size()) {
    if (!name_was_synced(disk, path)) return false;
    path.resize(path.rfind('/'));
  }
  return true;
}

}  // namespace

void watch_disk(const std::string& directory) {
  const std::lock_guard lock(disk().mutex);
  disk().root = std::filesystem::canonical(directory);
  disk().synced.clear();
  disk().directories.clear();
  remember_all(disk());
}

void fail_syncs(int error) {
  const std::lock_guard lock(disk().mutex);
  disk().error = error;
}

void after_each_sync(std::function<void()> event) {
  const std::lock_guard lock(disk().mutex);
  disk().event = std::move(event);
}

void cut_power(const std::string& to, std::mt19937_64& random) {
  const std::lock_guard lock(disk().mutex);
  const std::string& root = disk().root;
  std::set<std::string> paths;
  for (const auto& [path, bytes] : disk().synced) paths.insert(path);
  std::error_code failure;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root, failure)) {
    if (entry.is_regular_file(failure)) paths.insert(entry.path());
  }
  std::filesystem::create_directories(to);
  std::filesystem::permissions(to, std::filesystem::perms::owner_all);
  for (const std::string& path : paths) {
    const bool there = std::filesystem::exists(path, failure);
    const bool durable = is_database(path) || is_reachable(disk(), path);
    // Its making or its removal may or may not be on the disk.
    if (there != durable && random() % 2 == 0) continue;
    const auto known = disk().synced.find(path);
    const std::string synced = known == disk().synced.end() ? std::string() : known->second;
    const std::string now = there ? contents_of(path) : synced;
    const std::string copy = to + path.substr(root.size());
    std::filesystem::create_directories(copy.substr(0, copy.rfind('/')));
    std::ofstream out(copy, std::ios::binary);
    out << (path.ends_with("-wal") ? cut_log(synced, now, random) : cut_file(synced, now, random));
  }
}

}  // namespace rsyncfs

extern "C" {
int fdatasync(int fd) {
  return rsyncfs::synced(fd, false);
}
int fsync(int fd) {
  return rsyncfs::synced(fd, false);
}
int syncfs(int fd) noexcept {
  return rsyncfs::synced(fd, true);
}
}
