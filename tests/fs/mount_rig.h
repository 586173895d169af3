// SPDX-License-Identifier: GPL-3.0-or-later
// A real mount of a hand-filled Replica, and processes that use it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fs/fuse/front.h"
#include "tests/fs/tree_rig.h"

namespace rsyncfs::testing {

class MountRig : public TreeRig {
 public:
  explicit MountRig(FrontOptions options = {});
  ~MountRig();

  void mount();  // again, after unmount()
  void unmount();
  const std::string& path() const { return mountpoint; }
  std::string operator/(std::string_view name) const { return mountpoint + "/" + std::string(name); }
  uint64_t requests(FrontOp op) const { return front->statistics().requests[static_cast<size_t>(op)]; }
  // Waits until the kernel was told of everything.
  void settle();

  FrontOptions options;
  std::string mountpoint;
  std::atomic<int> ready_calls{0};
  std::atomic<int> ended_calls{0};
  std::unique_ptr<Front> front;
};

// Runs `body` in a forked child under the given user id; its result is the exit status (0..125). Ends it with
// SIGKILL after 20 s (then -1). A system call that waits in the mount can so be interrupted.
class Child {
 public:
  Child(uid_t user, const std::function<int()>& body);
  explicit Child(const std::function<int()>& body) : Child(0, body) {}
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void signal(int number) const;
  // Exit status, or 128 + signal; -1 when it still runs after the limit.
  int wait(int limit_ms = 20'000);

 private:
  pid_t pid_ = -1;
  int status_ = -1;
};

}  // namespace rsyncfs::testing
