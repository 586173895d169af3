// SPDX-License-Identifier: GPL-3.0-or-later
// A served tree that may be written, its read-write mount, and what both have to be like after a flush.
#pragma once

#include <string>
#include <vector>

#include "tests/mount/mount_rig.h"

namespace rsyncfs::mount_tests {

class WritableMount {
 public:
  // `options` are added to those of a mount that pushes soon.
  explicit WritableMount(std::vector<std::string> options = {});

  ServedTree& tree() { return tree_; }
  Mount& mount() { return mount_; }
  const std::string& served() const { return tree_.path(); }
  const std::string& path() const { return mount_.path(); }
  std::string operator/(const std::string& name) const { return mount_ / name; }

  // "" or what is wrong.
  std::string flush();
  // In what the source differs from what is shown, below `path` ("": everywhere). Times of directories are
  // sent only where a user set them.
  std::string differences(const std::string& path = "") const;
  // Orderly; `drain` false: what is not pushed by then stays for later.
  std::string unmount(bool drain);
  std::string mount_again();
  // What the source has now is shown.
  std::string take_in();

 private:
  // The server may still be at work on what it was sent when nobody listens any more.
  std::string wait_for_server();
  static DaemonOptions writable();
  MountOptions mount_options(const std::vector<std::string>& options) const;

  ServedTree tree_{writable()};
  Mount mount_;
};

}  // namespace rsyncfs::mount_tests
