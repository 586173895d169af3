// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/posix/calls.h"

namespace rsyncfs::posix_tests {

struct ModelNode {
  mode_t mode = 0;    // type and permissions
  std::string bytes;  // contents, or where a symbolic link leads
  std::map<std::string, std::string> xattrs;
  std::optional<timespec> mtime;  // none: it moved, and nobody looked yet
  std::map<std::string, std::shared_ptr<ModelNode>> children;
  nlink_t names = 0;

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_file() const { return S_ISREG(mode); }
  bool is_symlink() const { return S_ISLNK(mode); }
};
using NodePtr = std::shared_ptr<ModelNode>;

struct ModelCompareOptions {
  bool link_counts = true;            // of files
  bool directory_link_counts = true;  // 2 and one for each subdirectory
  bool mtimes = true;
  bool directory_mtimes = true;
  bool xattrs = true;  // user.* but user.rsyncfs.*
  bool inodes = true;  // one for each file, however many names it has
  size_t most_differences = 40;
};

// A tree as anybody would write it down: what a file system has to be like after the same calls. Names are
// relative, "a/b", the tree itself is ""; no symbolic link is followed. Each change returns 0, or minus the
// errno with which root's call of that name fails on Linux, and nothing was changed.
class TreeModel {
 public:
  TreeModel();

  const NodePtr& root() const { return root_; }
  NodePtr find(std::string_view path) const;  // null if there is none
  // All but the root, parents first.
  std::vector<std::pair<std::string, NodePtr>> all() const;

  int create(std::string_view path, mode_t mode);  // O_EXCL
  int mkdir(std::string_view path, mode_t mode);
  int symlink(std::string_view target, std::string_view path);
  int link(std::string_view from, std::string_view to);
  int unlink(std::string_view path);
  int rmdir(std::string_view path);
  int rename(std::string_view from, std::string_view to,
             unsigned flags);  // RENAME_NOREPLACE, RENAME_EXCHANGE
  int write(std::string_view path, size_t offset, std::string_view bytes);
  int truncate(std::string_view path, size_t size);
  int chmod(std::string_view path, mode_t mode);
  int set_mtime(std::string_view path, const timespec& time);
  int set_xattr(std::string_view path, const std::string& name, std::string_view value, int flags);
  int remove_xattr(std::string_view path, const std::string& name);
  // The same by a handle.
  static void write(ModelNode& node, size_t offset, std::string_view bytes);
  static void truncate(ModelNode& node, size_t size);

  // What a directory has that is not so here, or the reverse; a line for each. No access times, owners,
  // change times.
  std::vector<std::string> compare(Calls& calls, const std::string& directory,
                                   const ModelCompareOptions& options = {}) const;

 private:
  struct Place {
    NodePtr parent;
    std::string name;
    int error = 0;  // of the way there
  };
  Place place(std::string_view path) const;
  int add(std::string_view path, NodePtr node);
  static void remove(ModelNode& parent, const std::string& name);
  int check_rename(const Place& from, const Place& to, std::string_view from_path, std::string_view to_path,
                   unsigned flags) const;

  NodePtr root_;
};

}  // namespace rsyncfs::posix_tests
