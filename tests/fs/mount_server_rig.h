// SPDX-License-Identifier: GPL-3.0-or-later
// A read-write mount by fs_mount_server, which can be killed and started again on the same store.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tests/support/child_process.h"
#include "tests/support/temp_dir.h"

namespace rsyncfs::testing {

class MountServer {
 public:
  // `source` "-": an empty directory that never changes by itself.
  // `profile`: "no_open", "keep_cache" or "passthrough".
  explicit MountServer(std::string source = "-", std::string profile = "no_open");
  ~MountServer();
  MountServer(const MountServer&) = delete;
  MountServer& operator=(const MountServer&) = delete;

  const std::string& path() const { return mountpoint_; }
  std::string operator/(std::string_view name) const { return mountpoint_ + "/" + std::string(name); }
  void start();
  void stop();   // in good order
  void kill9();  // and takes the dead mount away
  void restart() {
    stop();
    start();
  }

 private:
  std::string source_;
  std::string profile_;
  support::TempDir dir_;
  std::string store_;
  std::string mountpoint_;
  std::unique_ptr<support::ChildProcess> process_;
};

}  // namespace rsyncfs::testing
