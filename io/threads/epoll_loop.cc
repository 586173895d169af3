// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/threads/epoll_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include <climits>

#include "io/loop_core.h"
#include "io/threads/attempt.h"
#include "io/threads/fd_waiters.h"
#include "io/threads/file_jobs.h"

namespace rsyncfs {

namespace {

struct EpollOp {
  EpollOp(IoOp op, int descriptor, IoDone completion)
      : kind(op), fd(descriptor), done(std::move(completion)) {}

  IoOp kind;
  int fd;
  IoDone done;
  std::span<std::byte> buffer;    // recv
  std::vector<iovec> data;        // send
  sockaddr_storage address{};     // connect
  socklen_t address_length = 0;   // connect; 0 once the attempt is under way
  std::shared_ptr<FileJob> file;  // files
  bool waiting = false;           // in the epoll set
  bool cancelled = false;

  Direction direction() const {
    return kind == IoOp::kSend || kind == IoOp::kConnect ? Direction::kOut : Direction::kIn;
  }
};

class EpollLoop final : public LoopCore {
 public:
  EpollLoop(UniqueFd wake, UniqueFd epoll) : LoopCore(std::move(wake)), waiters_(std::move(epoll)) {}
  ~EpollLoop() override;
  int watch_wake_fd() { return waiters_.add_permanent(posted_.wake_fd()); }

  OpId recv(int fd, std::span<std::byte> buffer, IoDone done) override;
  OpId send(int fd, std::span<const iovec> data, IoDone done) override;
  OpId connect(int fd, const sockaddr* address, socklen_t length, IoDone done) override;
  OpId accept(int fd, IoDone done) override;
  OpId poll_readable(int fd, IoDone done) override;
  OpId read_at(int fd, std::span<std::byte> buffer, uint64_t offset, IoDone done) override;
  OpId write_at(int fd, std::span<const std::byte> data, uint64_t offset, IoDone done) override;
  OpId fsync(int fd, bool data_only, IoDone done) override;
  void cancel(OpId id) override;
  std::string_view engine() const override { return "threads"; }

 private:
  void begin_run() override {}
  void start_pending() override;
  bool has_pending() const override { return !starting_.empty(); }
  void wait(std::optional<std::chrono::nanoseconds> timeout) override;
  void end_run() override { drop_operations(); }

  OpId start(EpollOp op);
  OpId start_file(IoOp kind, std::shared_ptr<FileJob> job, IoDone done);
  void begin(OpId id);
  void begin_file(OpId id, EpollOp& op);
  int64_t try_now(EpollOp& op);
  // Completes the operation or leaves it waiting; false: it still waits.
  bool advance(OpId id);
  void finish(OpId id, int64_t outcome);
  void on_event(int fd, uint32_t events);
  void drop_operations();

  FdWaiters waiters_;
  FileJobs files_;
  std::unordered_map<OpId, EpollOp> ops_;
  std::vector<OpId> starting_;  // asked for (or cancelled) since the last turn
};

EpollLoop::~EpollLoop() {
  drop_operations();
  drop_tasks();
}

OpId EpollLoop::start(EpollOp op) {
  check_thread();
  const OpId id = new_op_id();
  ops_.emplace(id, std::move(op));
  starting_.push_back(id);
  return id;
}

OpId EpollLoop::recv(int fd, std::span<std::byte> buffer, IoDone done) {
  RSYNCFS_CHECK(!buffer.empty());
  EpollOp op(IoOp::kRecv, fd, std::move(done));
  op.buffer = buffer;
  return start(std::move(op));
}

OpId EpollLoop::send(int fd, std::span<const iovec> data, IoDone done) {
  EpollOp op(IoOp::kSend, fd, std::move(done));
  const auto taken = data.first(std::min<size_t>(data.size(), IOV_MAX));
  op.data.assign(taken.begin(), taken.end());
  return start(std::move(op));
}

OpId EpollLoop::connect(int fd, const sockaddr* address, socklen_t length, IoDone done) {
  RSYNCFS_CHECK(length > 0 && length <= sizeof(sockaddr_storage));
  EpollOp op(IoOp::kConnect, fd, std::move(done));
  std::memcpy(&op.address, address, length);
  op.address_length = length;
  return start(std::move(op));
}

OpId EpollLoop::accept(int fd, IoDone done) {
  return start({IoOp::kAccept, fd, std::move(done)});
}

OpId EpollLoop::poll_readable(int fd, IoDone done) {
  return start({IoOp::kPoll, fd, std::move(done)});
}

OpId EpollLoop::start_file(IoOp kind, std::shared_ptr<FileJob> job, IoDone done) {
  EpollOp op(kind, job->fd, std::move(done));
  op.file = std::move(job);
  return start(std::move(op));
}

OpId EpollLoop::read_at(int fd, std::span<std::byte> buffer, uint64_t offset, IoDone done) {
  auto job = std::make_shared<FileJob>();
  job->kind = FileJob::Kind::kRead;
  job->fd = fd;
  job->into = buffer;
  job->offset = offset;
  return start_file(IoOp::kRead, std::move(job), std::move(done));
}

OpId EpollLoop::write_at(int fd, std::span<const std::byte> data, uint64_t offset, IoDone done) {
  auto job = std::make_shared<FileJob>();
  job->kind = FileJob::Kind::kWrite;
  job->fd = fd;
  job->from = data;
  job->offset = offset;
  return start_file(IoOp::kWrite, std::move(job), std::move(done));
}

OpId EpollLoop::fsync(int fd, bool data_only, IoDone done) {
  auto job = std::make_shared<FileJob>();
  job->kind = data_only ? FileJob::Kind::kDataSync : FileJob::Kind::kSync;
  job->fd = fd;
  return start_file(IoOp::kFsync, std::move(job), std::move(done));
}

void EpollLoop::cancel(OpId id) {
  check_thread();
  const auto found = ops_.find(id);
  if (found == ops_.end() || found->second.cancelled) return;
  EpollOp& op = found->second;
  const bool begun_file = op.file != nullptr && op.waiting;
  if (begun_file && !FileJobs::cancel(*op.file)) return;
  op.cancelled = true;
  if (!op.waiting) return;  // still in starting_
  if (!begun_file) waiters_.remove(op.fd, op.direction(), id);
  op.waiting = false;
  starting_.push_back(id);
}

int64_t EpollLoop::try_now(EpollOp& op) {
  switch (op.kind) {
    case IoOp::kRecv:
      return attempt::recv(op.fd, op.buffer);
    case IoOp::kSend:
      return attempt::send(op.fd, op.data);
    case IoOp::kAccept:
      return attempt::accept(op.fd);
    case IoOp::kPoll:
      return attempt::poll_readable(op.fd);
    case IoOp::kConnect: {
      if (op.address_length == 0) return attempt::connected(op.fd);
      const socklen_t length = std::exchange(op.address_length, 0);
      return attempt::connect(op.fd, reinterpret_cast<const sockaddr*>(&op.address), length);
    }
    default:
      return -EINVAL;
  }
}

void EpollLoop::begin(OpId id) {
  const auto found = ops_.find(id);
  if (found == ops_.end()) return;
  EpollOp& op = found->second;
  if (op.cancelled) return finish(id, -ECANCELED);
  if (op.file != nullptr) return begin_file(id, op);
  const int64_t outcome = try_now(op);
  if (outcome != -EAGAIN) return finish(id, outcome);
  op.waiting = true;
  if (const int error = waiters_.add(op.fd, op.direction(), id); error < 0) {
    op.waiting = false;
    finish(id, error);
  }
}

void EpollLoop::begin_file(OpId id, EpollOp& op) {
  if (const auto outcome = FileJobs::read_cached(*op.file)) return finish(id, *outcome);
  op.waiting = true;
  files_.submit(op.file, [this, id](int64_t outcome) {
    posted_.push([this, id, outcome] { finish(id, outcome); }, false);
  });
}

void EpollLoop::finish(OpId id, int64_t outcome) {
  auto node = ops_.extract(id);
  if (node.empty()) return;
  complete(node.mapped().kind, node.mapped().done, outcome);
}

bool EpollLoop::advance(OpId id) {
  const auto found = ops_.find(id);
  if (found == ops_.end()) return true;  // completed or cancelled by a completion just before
  EpollOp& op = found->second;
  if (!op.waiting) return true;
  const int64_t outcome = try_now(op);
  if (outcome == -EAGAIN) return false;
  op.waiting = false;
  waiters_.served(op.fd, op.direction(), id);
  finish(id, outcome);
  return true;
}

void EpollLoop::on_event(int fd, uint32_t events) {
  constexpr uint32_t kBroken = EPOLLERR | EPOLLHUP;
  const auto advance_all = [&](Direction direction) {
    for (const OpId id : waiters_.waiters(fd, direction)) {
      if (!advance(id)) return;
    }
  };
  if ((events & (EPOLLIN | EPOLLRDHUP | kBroken)) != 0) advance_all(Direction::kIn);
  if ((events & (EPOLLOUT | kBroken)) != 0) advance_all(Direction::kOut);
  waiters_.rearm(fd);
}

void EpollLoop::start_pending() {
  // What completions start is left for the next turn.
  for (const OpId id : std::exchange(starting_, {})) begin(id);
}

void EpollLoop::wait(std::optional<std::chrono::nanoseconds> timeout) {
  counters_.submits.fetch_add(1, std::memory_order_relaxed);
  for (const epoll_event& event : waiters_.wait(timeout)) {
    if (event.data.fd == posted_.wake_fd()) {
      posted_.read_wake_fd();
    } else {
      on_event(event.data.fd, event.events);
    }
  }
}

void EpollLoop::drop_operations() {
  // What completions captured may start more as it goes; those are dropped in turn, up to this many
  // generations.
  constexpr int kRounds = 16;
  for (int i = 0; i < kRounds && !ops_.empty(); ++i) {
    for (auto& [id, op] : ops_) {
      if (op.file != nullptr) {
        FileJobs::cancel(*op.file);
      } else if (op.waiting) {
        waiters_.remove(op.fd, op.direction(), id);
      }
    }
    files_.drain();
    starting_.clear();
    const auto dropped = std::exchange(ops_, {});
  }
}

}  // namespace

Result<std::unique_ptr<Loop>> make_epoll_loop() {
  auto wake = PostQueue::make_wake_fd();
  if (!wake.ok()) return wake.error();
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return Error::os(errno, "epoll_create1");
  auto loop = std::make_unique<EpollLoop>(std::move(*wake), std::move(epoll));
  if (const int error = loop->watch_wake_fd(); error < 0) return Error::os(-error, "epoll_ctl");
  return std::unique_ptr<Loop>(std::move(loop));
}

}  // namespace rsyncfs
