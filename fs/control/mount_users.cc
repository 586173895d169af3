// SPDX-License-Identifier: GPL-3.0-or-later
#include <dirent.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>

#include "fs/control/mount_table.h"
#include "io/base/text.h"

namespace rsyncfs {
namespace {

// Everything here reads links and texts of /proc; nothing looks into the mount, which may be stuck.
bool is_inside(std::string_view path, const std::string& mountpoint) {
  if (path.substr(0, mountpoint.size()) != mountpoint) return false;
  return path.size() == mountpoint.size() || path[mountpoint.size()] == '/' || mountpoint == "/";
}

std::string link_target(const std::string& path) {
  std::array<char, 4096> target{};
  const ssize_t length = readlink(path.c_str(), target.data(), target.size());
  return length < 0 ? "" : std::string(target.data(), static_cast<size_t>(length));
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (!dir) return names;
  while (const dirent* entry = readdir(dir.get())) {
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') names.emplace_back(entry->d_name);
  }
  return names;
}

bool uses_mount(const std::string& process, const std::string& mountpoint) {
  for (const char* link : {"cwd", "root", "exe"}) {
    if (is_inside(link_target(process + "/" + link), mountpoint)) return true;
  }
  const std::string descriptors = process + "/fd/";
  for (const std::string& fd : names_in(descriptors)) {
    if (is_inside(link_target(descriptors + fd), mountpoint)) return true;
  }
  std::ifstream maps(process + "/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t path = line.find('/');
    if (path != std::string::npos && is_inside(std::string_view(line).substr(path), mountpoint)) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> users_of_mount(const std::string& mountpoint) {
  std::vector<std::string> users;
  for (const std::string& pid : names_in("/proc")) {
    const std::string process = "/proc/" + pid;
    if (!uses_mount(process, mountpoint)) continue;
    std::ifstream file(process + "/comm");
    std::string name;
    std::getline(file, name);
    users.push_back("pid " + pid + " (" + escape_control(name) + ")");
    if (users.size() == kMaxListedUsers) break;
  }
  return users;
}

}  // namespace rsyncfs
