// SPDX-License-Identifier: GPL-3.0-or-later
// Tasks handed to a loop by other threads, and the eventfd that wakes it for them.
#pragma once

#include <mutex>
#include <vector>

#include "io/base/result.h"
#include "io/base/unique_fd.h"
#include "io/executor.h"

namespace rsyncfs {

// One eventfd write wakes the loop for everything pushed until the loop looks: bursts cost one system call.
class PostQueue {
 public:
  // `wake`: an eventfd in blocking mode.
  explicit PostQueue(UniqueFd wake) : wake_(std::move(wake)) {}
  PostQueue(const PostQueue&) = delete;
  PostQueue& operator=(const PostQueue&) = delete;
  static Result<UniqueFd> make_wake_fd();

  // Any thread. `from_loop`: the caller is the loop thread, which will look before it waits.
  void push(Task task, bool from_loop);
  void wake();  // any thread

  // The loop thread.
  int wake_fd() const { return wake_.get(); }
  void read_wake_fd();  // only when it is readable
  bool empty() const;
  // Runs what is queued now, in order; what those tasks push is left for the next call.
  void run();

  // Destroys what is queued without running it.
  void clear();

 private:
  std::vector<Task> take();

  UniqueFd wake_;
  mutable std::mutex mutex_;
  std::vector<Task> tasks_;
  bool wake_sent_ = false;
};

}  // namespace rsyncfs
