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

WorkerPool::~WorkerPool() {
  stop();
}

void WorkerPool::run() {
  ::pthread_setname_np(::pthread_self(), "fuse-worker");
  block_other_signals();
  Session::Buffer buffer;
  while (session_.serve(buffer)) served_();
  // One has seen the end; the others may still wait in read(2) of a channel that stays open.
  session_.exit();
  if (running_.fetch_sub(1) == 1) ended_();
}

void WorkerPool::stop() {
  session_.exit();
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
