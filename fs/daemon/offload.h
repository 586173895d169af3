// SPDX-License-Identifier: GPL-3.0-or-later
// Work for the executor whose outcome is wanted on the loop: the store may be slow, and the loop must not
// wait for it.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include "io/executor.h"
#include "io/loop.h"

namespace rsyncfs {

class Offload {
 public:
  Offload(Loop& loop, Executor& executor) : loop_(loop), executor_(executor) {}
  ~Offload() { wait_idle(); }
  Offload(const Offload&) = delete;
  Offload& operator=(const Offload&) = delete;

  // Any thread. `work()` on the executor, then `then(its result)` on the loop; not at all if the loop has
  // ended.
  template <class Work, class Then>
  void run(Work work, Then then) {
    {
      const std::lock_guard lock(mutex_);
      ++running_;
    }
    executor_.submit([this, work = std::move(work), then = std::move(then)]() mutable {
      loop_.post([result = work(), then = std::move(then)]() mutable { then(std::move(result)); });
      const std::lock_guard lock(mutex_);
      --running_;
      idle_.notify_all();
    });
  }

  // Until no work is on the executor. Not from the executor.
  void wait_idle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  Loop& loop_;
  Executor& executor_;
  std::mutex mutex_;
  std::condition_variable idle_;
  size_t running_ = 0;
};

}  // namespace rsyncfs
