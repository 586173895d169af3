// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <string_view>

namespace rsyncfs::support {

// A fresh directory under $TMPDIR (or /tmp), mode 0755. The destructor lazily unmounts whatever is mounted
// below it and removes it with all that it holds: any name, any depth, any mode.
class TempDir {
 public:
  explicit TempDir(std::string_view prefix = "rsyncfs-test");
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  // The path of a new subdirectory.
  std::string make_dir(std::string_view name) const;

 private:
  std::string path_;
};

// Removes a tree, never entering another file system's mount; false (errno set) if something stayed.
bool remove_tree(const std::string& path);

}  // namespace rsyncfs::support
