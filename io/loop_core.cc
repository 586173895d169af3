// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/loop_core.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

namespace rsyncfs {

namespace {

// A pipe without a reader must be EPIPE here, not the end of the process. Only this thread's mask is touched;
// a signal left pending by our own writes is taken away before the mask is given back.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~SigpipeBlocked() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    const timespec now{};
    while (sigtimedwait(&sigpipe_, nullptr, &now) >= 0 || errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

 private:
  sigset_t sigpipe_{};
  sigset_t before_{};
};

}  // namespace

std::string_view io_op_name(IoOp op) {
  static constexpr std::array<std::string_view, static_cast<size_t>(IoOp::kCount)> kNames = {
      "read", "write", "recv", "send", "connect", "accept", "poll", "fsync"};
  return op < IoOp::kCount ? kNames[static_cast<size_t>(op)] : "?";
}

void LoopCore::post(Task task) {
  posted_.push(std::move(task), in_loop_thread());
}

TimerId LoopCore::run_after(std::chrono::nanoseconds delay, Task task) {
  check_thread();
  return timers_.add(Clock::now(), delay, std::move(task));
}

void LoopCore::cancel_timer(TimerId timer) {
  check_thread();
  timers_.cancel(timer);
}

void LoopCore::run() {
  RSYNCFS_CHECK(thread_.load() == std::thread::id{});
  thread_ = std::this_thread::get_id();
  const SigpipeBlocked sigpipe_blocked;
  begin_run();
  while (!stop_.load(std::memory_order_acquire)) {
    posted_.run();
    timers_.run_due(Clock::now(), stop_);
    start_pending();
    if (stop_.load(std::memory_order_acquire)) break;
    // Asked only now: what has just completed may have added timers, tasks and operations.
    wait(time_to_wait());
    counters_.wakeups.fetch_add(1, std::memory_order_relaxed);
  }
  end_run();
  stop_ = false;
  thread_ = std::thread::id{};
}

void LoopCore::stop() {
  stop_.store(true, std::memory_order_release);
  posted_.wake();
}

bool LoopCore::in_loop_thread() const {
  return thread_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

std::optional<std::chrono::nanoseconds> LoopCore::time_to_wait() {
  if (has_pending() || !posted_.empty()) return std::chrono::nanoseconds::zero();
  const auto due = timers_.next_due();
  if (!due) return std::nullopt;
  return std::max(std::chrono::nanoseconds::zero(), std::chrono::nanoseconds(*due - Clock::now()));
}

void LoopCore::check_thread() const {
  const auto owner = thread_.load(std::memory_order_relaxed);
  RSYNCFS_CHECK(owner == std::thread::id{} || owner == std::this_thread::get_id());
}

void LoopCore::complete(IoOp op, IoDone& done, int64_t outcome) {
  const auto index = static_cast<size_t>(op);
  counters_.ops[index].fetch_add(1, std::memory_order_relaxed);
  if (outcome >= 0) {
    const bool counted = op == IoOp::kRead || op == IoOp::kWrite || op == IoOp::kRecv || op == IoOp::kSend;
    if (counted) counters_.bytes[index].fetch_add(static_cast<uint64_t>(outcome), std::memory_order_relaxed);
    done(static_cast<size_t>(outcome));
    return;
  }
  const int error = static_cast<int>(-outcome);
  if (error == ECANCELED) {
    done(Error(Errc::kCanceled, std::string(io_op_name(op)) + ": canceled").with_errno(ECANCELED));
  } else {
    done(Error::os(error, io_op_name(op)));
  }
}

void LoopCore::drop_tasks() {
  // What a task captured may post again as it goes; a chain longer than this is left to the members'
  // destructors.
  constexpr int kRounds = 16;
  for (int i = 0; i < kRounds && (!posted_.empty() || timers_.size() > 0); ++i) {
    posted_.clear();
    timers_.clear();
  }
}

}  // namespace rsyncfs
