// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <sys/mount.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "tests/support/files.h"

namespace rsyncfs::support {

// A file system of few bytes and names over a directory, which can be filled up. Needs root.
class SmallDisk {
 public:
  SmallDisk(std::string path, const std::string& size, int names) : path_(std::move(path)) {
    const std::string options = "size=" + size + ",mode=0755,nr_inodes=" + std::to_string(names);
    mounted_ = mount("none", path_.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  // Leaves so many blocks, by a file of this path.
  void fill_blocks(const std::string& filler, uint64_t left) const {
    const struct statvfs now = look();
    write_file(filler, std::string(now.f_bavail > left ? (now.f_bavail - left) * now.f_frsize : 0, 'x'));
  }
  // Leaves so many names, by files in this directory.
  void fill_names(const std::string& directory, uint64_t left) const {
    make_dirs(directory);
    for (uint64_t i = look().f_ffree; i > left; --i) std::ofstream(directory + "/" + std::to_string(i));
  }

 private:
  struct statvfs look() const {
    struct statvfs now {};
    statvfs(path_.c_str(), &now);
    return now;
  }

  std::string path_;
  bool mounted_ = false;
};

}  // namespace rsyncfs::support
