// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/mount_table.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

#include "tests/support/child_process.h"

namespace rsyncfs::support {
namespace {

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string decode_octal(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::vector<MountEntry> mount_table() {
  std::ifstream table("/proc/self/mountinfo");
  std::vector<MountEntry> entries;
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point;
    words >> id >> parent >> device >> root >> point;
    MountEntry entry{decode_octal(point), {}};
    const size_t optional_end = line.find(" - ");
    if (optional_end != std::string::npos) std::istringstream(line.substr(optional_end + 3)) >> entry.type;
    entries.push_back(std::move(entry));
  }
  std::reverse(entries.begin(), entries.end());
  return entries;
}

std::vector<std::string> mounts_below(const std::string& path) {
  std::vector<std::string> points;
  for (const MountEntry& entry : mount_table()) {
    if (entry.point == path || entry.point.starts_with(path + "/")) points.push_back(entry.point);
  }
  return points;
}

bool is_mounted(const std::string& path) {
  const std::vector<std::string> points = mounts_below(path);
  return std::find(points.begin(), points.end(), path) != points.end();
}

bool detach_mount(const std::string& path) {
  if (umount2(path.c_str(), MNT_DETACH) == 0) return true;
  constexpr std::chrono::seconds kLimit{10};
  return run_command({"fusermount3", "-u", "-z", path}, kLimit).exit_code == 0;
}

}  // namespace rsyncfs::support
