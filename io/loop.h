// SPDX-License-Identifier: GPL-3.0-or-later
// The only door to network, clock, timers and batched file I/O. Two engines stand behind it: io_uring
// (io/uring) and epoll with a thread pool (io/threads); make_loop() chooses one by probing.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "io/base/result.h"
#include "io/base/unique_function.h"
#include "io/executor.h"

namespace rsyncfs {

using Clock = std::chrono::steady_clock;
using OpId = uint64_t;     // names one operation under way; never reused; 0 is none
using TimerId = uint64_t;  // names one timer; never reused; 0 is none

// The outcome of one operation: bytes moved (0 = end of file, or nothing to count), or an Error whose
// os_errno() is set; kCanceled and ECANCELED after cancel().
using IoDone = UniqueFunction<void(Result<size_t>)>;

enum class IoOp : uint8_t { kRead, kWrite, kRecv, kSend, kConnect, kAccept, kPoll, kFsync, kCount };
std::string_view io_op_name(IoOp op);

// Written by the loop thread, read by any.
struct LoopCounters {
  std::array<std::atomic<uint64_t>, static_cast<size_t>(IoOp::kCount)> ops{};
  std::array<std::atomic<uint64_t>, static_cast<size_t>(IoOp::kCount)> bytes{};
  std::atomic<uint64_t> wakeups{0};  // times the loop returned from waiting
  std::atomic<uint64_t> submits{0};  // system calls that submitted or polled (io_uring_enter, epoll_wait)
};

// One thread runs run(), always the same one; every method is for that thread unless it says otherwise.
// Before the first run(), and between two, operations and timers may be started from one other thread: they
// wait for run(). A loop does not survive fork() in the child: make it after the process has put itself in
// the background. Completions are never called from inside the call that starts the operation. Buffers,
// iovecs' targets and file descriptors given to an operation must stay valid until its completion, or until
// run() has returned; the iovec array and the socket address are copied. The order of two operations under
// way on one descriptor is not defined: wait for one send() (or recv()) before the next. O_NONBLOCK may be
// set or not, and is left as it is. SIGPIPE is blocked in the thread that is in run(): a child started from
// it needs its own signal mask.
class Loop {
 public:
  virtual ~Loop() = default;

  // Any thread, also after stop() (the task is then dropped when the loop is destroyed).
  virtual void post(Task task) = 0;
  virtual TimerId run_after(std::chrono::nanoseconds delay, Task task) = 0;
  virtual void cancel_timer(TimerId timer) = 0;  // unknown or fired ids are ignored

  // Sockets and pipes; recv() also ttys. Both may move less than asked; recv() needs room for at least one
  // byte, send() takes at most IOV_MAX parts. A pipe or socket without a reader is EPIPE.
  virtual OpId recv(int fd, std::span<std::byte> buffer, IoDone done) = 0;
  virtual OpId send(int fd, std::span<const iovec> data, IoDone done) = 0;
  virtual OpId connect(int fd, const sockaddr* address, socklen_t length, IoDone done) = 0;
  virtual OpId accept(int fd, IoDone done) = 0;         // result: the new descriptor, CLOEXEC
  virtual OpId poll_readable(int fd, IoDone done) = 0;  // also pidfds

  // Regular files, at an offset; short only at the end of file or before an error, which the next call gets.
  virtual OpId read_at(int fd, std::span<std::byte> buffer, uint64_t offset, IoDone done) = 0;
  virtual OpId write_at(int fd, std::span<const std::byte> data, uint64_t offset, IoDone done) = 0;
  virtual OpId fsync(int fd, bool data_only, IoDone done) = 0;

  // The completion still comes, with ECANCELED or, when it was too late, the result. Unknown ids are ignored.
  virtual void cancel(OpId op) = 0;

  // Until stop(). Returns when every operation under way has been cancelled and nothing uses its buffer; the
  // completions of those are dropped without a call. Timers and posted tasks stay for the next run() or are
  // dropped with the loop.
  virtual void run() = 0;
  // Any thread. When run() is not active, the next run() returns at once.
  virtual void stop() = 0;
  virtual bool in_loop_thread() const = 0;

  virtual std::string_view engine() const = 0;  // "io_uring" or "threads"
  const LoopCounters& counters() const { return counters_; }

 protected:
  LoopCounters counters_;
};

enum class IoChoice : uint8_t { kAuto, kUring, kThreads };
Result<IoChoice> parse_io_choice(std::string_view text);  // "auto", "uring", "threads"

struct LoopSelection {
  std::unique_ptr<Loop> loop;
  std::string reason;  // one line: which engine was taken and why, for the log and status
};

// kAuto takes io_uring if a ring can be made, its operations are there and a NOP completes; otherwise
// threads. kUring fails where kAuto would fall back.
Result<LoopSelection> make_loop(IoChoice choice);

}  // namespace rsyncfs
