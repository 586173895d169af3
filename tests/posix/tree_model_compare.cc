// SPDX-License-Identifier: GPL-3.0-or-later
#include <algorithm>
#include <cerrno>
#include <map>

#include "tests/posix/probe.h"
#include "tests/posix/tree_model.h"
#include "tests/support/files.h"

namespace rsyncfs::posix_tests {
namespace {

std::string octal(mode_t mode) {
  std::string out;
  for (int shift = 15; shift >= 0; shift -= 3) out += static_cast<char>('0' + ((mode >> shift) & 7));
  return out;
}

std::string time_text(const timespec& time) {
  return std::to_string(time.tv_sec) + " s " + std::to_string(time.tv_nsec) + " ns";
}

// One comparison under way.
class Comparison {
 public:
  Comparison(Calls& calls, std::string directory, const ModelCompareOptions& options)
      : calls_(calls), directory_(std::move(directory)), options_(options) {}

  void node(const std::string& path, const NodePtr& wanted) {
    if (full()) return;
    struct stat got {};
    if (const int result = calls_.lstat(directory_ + "/" + path, got); result < 0) {
      return different(path, "lstat", "", errno_name(-result));
    }
    if (got.st_mode != wanted->mode) return different(path, "mode", octal(wanted->mode), octal(got.st_mode));
    links(path, *wanted, got);
    mtime(path, *wanted, got);
    if (options_.inodes) inode(path, wanted, got);
    if (options_.xattrs && !wanted->is_symlink()) xattrs(path, *wanted);
    if (wanted->is_file()) contents(path, *wanted, got);
    if (wanted->is_symlink()) target(path, *wanted);
    if (wanted->is_directory()) children(path, *wanted);
  }

  std::vector<std::string> take() { return std::move(differences_); }

 private:
  bool full() const { return differences_.size() >= options_.most_differences; }

  void different(const std::string& path, const std::string& what, const std::string& wanted,
                 const std::string& got) {
    differences_.push_back(support::printable(path.empty() ? "." : path) + ": " + what + " is " + got +
                           (wanted.empty() ? "" : ", not " + wanted));
  }

  void links(const std::string& path, const ModelNode& wanted, const struct stat& got) {
    nlink_t count = wanted.names;
    if (wanted.is_directory()) {
      count = 2 + static_cast<nlink_t>(
                      std::count_if(wanted.children.begin(), wanted.children.end(),
                                    [](const auto& each) { return each.second->is_directory(); }));
    }
    const bool asked = wanted.is_directory() ? options_.directory_link_counts : options_.link_counts;
    if (asked && got.st_nlink != count) {
      different(path, "link count", std::to_string(count), std::to_string(got.st_nlink));
    }
  }

  void mtime(const std::string& path, const ModelNode& wanted, const struct stat& got) {
    if (!options_.mtimes || !wanted.mtime || (wanted.is_directory() && !options_.directory_mtimes)) return;
    if (wanted.mtime->tv_sec != got.st_mtim.tv_sec || wanted.mtime->tv_nsec != got.st_mtim.tv_nsec) {
      different(path, "modification time", time_text(*wanted.mtime), time_text(got.st_mtim));
    }
  }

  void inode(const std::string& path, const NodePtr& wanted, const struct stat& got) {
    const auto [by_number, fresh] = node_of_.try_emplace(got.st_ino, wanted);
    if (!fresh && by_number->second != wanted) different(path, "inode number", "", "another file's");
    const auto [by_node, first] = number_of_.try_emplace(wanted, got.st_ino);
    if (!first && by_node->second != got.st_ino) {
      different(path, "inode number", "that of its other name", "another");
    }
  }

  void xattrs(const std::string& path, const ModelNode& wanted) {
    std::vector<std::string> names;
    const ssize_t result = calls_.list_xattrs(directory_ + "/" + path, names);
    if (result == -EOPNOTSUPP && wanted.xattrs.empty()) return;
    if (result < 0) return different(path, "listxattr", "", errno_name(static_cast<int>(-result)));
    std::map<std::string, std::string> got;
    for (const std::string& name : names) {
      if (name.rfind("user.", 0) != 0 || name.rfind("user.rsyncfs.", 0) == 0) continue;
      calls_.get_xattr(directory_ + "/" + path, name, got[name]);
    }
    if (got == wanted.xattrs) return;
    for (const auto& [name, value] : wanted.xattrs) {
      const auto found = got.find(name);
      if (found == got.end()) {
        different(path, name, "", "missing");
      } else if (found->second != value) {
        different(path, name, summary(value), summary(found->second));
      }
    }
    for (const auto& [name, value] : got) {
      if (wanted.xattrs.count(name) == 0) different(path, name, "", "there, with " + summary(value));
    }
  }

  void contents(const std::string& path, const ModelNode& wanted, const struct stat& got) {
    if (static_cast<size_t>(got.st_size) != wanted.bytes.size()) {
      different(path, "size", std::to_string(wanted.bytes.size()), std::to_string(got.st_size));
    }
    std::string bytes;
    if (const int result = read_whole(calls_, directory_ + "/" + path, bytes); result < 0) {
      return different(path, "reading", "", errno_name(-result));
    }
    if (bytes == wanted.bytes) return;
    const auto at = static_cast<size_t>(
        std::mismatch(bytes.begin(), bytes.end(), wanted.bytes.begin(), wanted.bytes.end()).first -
        bytes.begin());
    different(path, "contents from " + std::to_string(at),
              summary(std::string_view(wanted.bytes).substr(std::min(at, wanted.bytes.size()), 32)),
              summary(std::string_view(bytes).substr(at, 32)));
  }

  void target(const std::string& path, const ModelNode& wanted) {
    std::string got;
    calls_.readlink(directory_ + "/" + path, got);
    if (got != wanted.bytes) different(path, "target", summary(wanted.bytes), summary(got));
  }

  void children(const std::string& path, const ModelNode& wanted) {
    std::vector<std::string> names;
    if (const int result = calls_.list(directory_ + "/" + path, names); result < 0) {
      return different(path, "listing", "", errno_name(-result));
    }
    for (const std::string& name : names) {
      if (wanted.children.count(name) == 0 && !full()) different(path, support::printable(name), "", "there");
    }
    for (const auto& [name, child] : wanted.children) {
      if (full()) return;
      if (!std::binary_search(names.begin(), names.end(), name)) {
        different(path, support::printable(name), "", "missing");
      } else {
        node(path.empty() ? name : path + "/" + name, child);
      }
    }
  }

  Calls& calls_;
  const std::string directory_;
  const ModelCompareOptions options_;
  std::vector<std::string> differences_;
  std::map<ino_t, NodePtr> node_of_;
  std::map<NodePtr, ino_t> number_of_;
};

}  // namespace

std::vector<std::string> TreeModel::compare(Calls& calls, const std::string& directory,
                                            const ModelCompareOptions& options) const {
  Comparison comparison(calls, directory, options);
  comparison.node("", root_);
  return comparison.take();
}

}  // namespace rsyncfs::posix_tests
