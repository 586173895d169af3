// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/mapped_files.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
#include <utility>

namespace rsyncfs {
namespace {

bool is_process(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

void MappedFiles::watch(std::string device) {
  unsigned major = 0;
  unsigned minor = 0;
  if (std::sscanf(device.c_str(), "%u:%u", &major, &minor) != 2) return;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%02x:%02x", major, minor);
  const std::lock_guard lock(mutex_);
  device_ = text.data();
  looked_at_ = {};
}

InodeSet MappedFiles::inodes() {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  if (device_.empty() || (looked_at_ != Clock::time_point{} && now - looked_at_ < kKnownFor)) return inodes_;
  looked_at_ = now;
  inodes_.clear();
  std::error_code failure;
  for (std::filesystem::directory_iterator entry("/proc", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (!is_process(entry->path().filename().native())) continue;
    // Those of other users cannot be read, but by root; without allow_other they are not inside.
    std::ifstream file(entry->path() / "maps");
    const std::string maps((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    add_mapped_inodes(maps, device_, inodes_);
  }
  return inodes_;
}

void add_mapped_inodes(const std::string& maps, const std::string& device, InodeSet& inodes) {
  // The device stands between blanks; most processes map nothing of ours.
  const std::string mark = " " + device + " ";
  for (size_t at = maps.find(mark); at != std::string::npos; at = maps.find(mark, at + 1)) {
    const uint64_t inode = std::strtoull(maps.c_str() + at + mark.size(), nullptr, 10);
    if (inode != 0) inodes.insert(inode);
  }
}

}  // namespace rsyncfs
