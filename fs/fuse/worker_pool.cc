// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/fuse/worker_pool.h"

#include <pthread.h>

#include <chrono>
#include <csignal>
#include <mutex>
#include <utility>

namespace rsyncfs {
namespace {

// A signal that lands between the look at the flag and read(2) is lost, so it is sent again.
constexpr std::chrono::milliseconds kKickEvery{5};
// So long a request may take before another thread takes those that come behind it. Longer than a reader that
// is ready to run waits for its turn, as a rule: another one would have to wait, too.
constexpr std::chrono::milliseconds kPatience{4};
// And so often that is looked at in vain before the thread lies down.
constexpr int kIdleRounds = 4;

int wake_signal() {
  return SIGRTMIN + 3;
}

// Its only effect is EINTR.
void install_wake_signal() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(wake_signal(), &action, nullptr);
  });
}

// The program's signals are for its other threads.
void block_other_signals() {
  sigset_t blocked;
  ::sigfillset(&blocked);
  ::sigdelset(&blocked, wake_signal());
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) ::sigdelset(&blocked, fault);
  ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

}  // namespace

WorkerPool::WorkerPool(Session& session, unsigned workers, std::function<void()> served,
                       std::function<void()> ended)
    : session_(session), served_(std::move(served)), ended_(std::move(ended)), running_(workers) {
  install_wake_signal();
  threads_.reserve(workers);
  for (unsigned i = 0; i < workers; ++i) threads_.emplace_back([this] { run(); });
}

void WorkerPool::run() {
  ::pthread_setname_np(::pthread_self(), "fuse-worker");
  block_other_signals();
  Session::Buffer buffer;
  while (become_reader() && read_requests(buffer)) {
  }
  // One has seen the end; another may still wait in read(2) of a channel that stays open.
  session_.exit();
  wake_all();
  if (running_.fetch_sub(1) == 1) ended_();
}

bool WorkerPool::become_reader() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (session_.exited()) return false;
    if (!has_reader_) {
      has_reader_ = true;
      return true;
    }
    if (std::exchange(watch_wanted_, false)) {
      watch(lock);
    } else {
      changed_.wait(lock);
    }
  }
}

void WorkerPool::watch(std::unique_lock<std::mutex>& lock) {
  uint64_t seen = step_.load();
  int idle = 0;
  for (;;) {
    changed_.wait_for(lock, kPatience);
    if (!has_reader_ || session_.exited()) break;
    const uint64_t now = step_.load();
    if (now != seen) {
      seen = now;
      idle = 0;
      continue;
    }
    if (now % 2 != 0) {
      if (step_.compare_exchange_strong(seen, now + 3)) {
        has_reader_ = false;
        break;
      }
      continue;
    }
    if (++idle < kIdleRounds) continue;
    // Whoever begins with a request looks at this afterwards.
    unwatched_.store(true);
    if (step_.load() == now || !unwatched_.exchange(false)) return;
  }
  unwatched_.store(true);
}

void WorkerPool::call_watcher() {
  if (!unwatched_.load(std::memory_order_seq_cst) || !unwatched_.exchange(false)) return;
  {
    const std::lock_guard lock(mutex_);
    watch_wanted_ = true;
  }
  changed_.notify_one();
}

bool WorkerPool::read_requests(Session::Buffer& buffer) {
  uint64_t step = step_.load();
  for (;;) {
    if (!session_.receive(buffer)) {
      if (session_.exited()) return false;
      continue;
    }
    step_.store(++step);
    call_watcher();
    uint64_t expected = step;
    if (session_.more_waits() && step_.compare_exchange_strong(expected, step + 3)) {
      {
        const std::lock_guard lock(mutex_);
        has_reader_ = false;
      }
      changed_.notify_one();
    }
    session_.process(buffer);
    served_();
    expected = step;
    if (!step_.compare_exchange_strong(expected, step + 1)) return true;
    ++step;
    if (session_.exited()) return false;
  }
}

void WorkerPool::wake_all() {
  // Who has looked at the session before it ended waits by now.
  { const std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

WorkerPool::~WorkerPool() {
  stop();
}

void WorkerPool::stop() {
  session_.exit();
  wake_all();
  while (running_.load() > 0) {
    for (std::thread& thread : threads_) {
      // A thread that has ended and is not joined yet may be signalled: nothing happens.
      if (thread.joinable()) ::pthread_kill(thread.native_handle(), wake_signal());
    }
    std::this_thread::sleep_for(kKickEvery);
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace rsyncfs
