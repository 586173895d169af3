// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/uring/uring_loop.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <climits>

#include "io/loop_core.h"
#include "io/uring/ring.h"
#include "io/uring/uring_op.h"

namespace rsyncfs {

namespace {

// File operations in flight at once; the others wait here. Sockets and pipes have no such limit: a full set
// of idle connections would keep the one operation that frees them from being submitted.
constexpr size_t kMaxFileOps = 64;
// How often cancellation is repeated while the loop waits for its last operations.
constexpr std::chrono::milliseconds kCancelAgain{100};

// user_data is the OpId, or one of these.
constexpr uint64_t kWakeTag = uint64_t{1} << 63;
constexpr uint64_t kCancelTag = kWakeTag + 1;

class UringLoop final : public LoopCore {
 public:
  UringLoop(UniqueFd wake, std::unique_ptr<Ring> ring) : LoopCore(std::move(wake)), ring_(std::move(ring)) {}
  ~UringLoop() override;

  OpId recv(int fd, std::span<std::byte> buffer, IoDone done) override;
  OpId send(int fd, std::span<const iovec> data, IoDone done) override;
  OpId connect(int fd, const sockaddr* address, socklen_t length, IoDone done) override;
  OpId accept(int fd, IoDone done) override;
  OpId poll_readable(int fd, IoDone done) override;
  OpId read_at(int fd, std::span<std::byte> buffer, uint64_t offset, IoDone done) override;
  OpId write_at(int fd, std::span<const std::byte> data, uint64_t offset, IoDone done) override;
  OpId fsync(int fd, bool data_only, IoDone done) override;
  void cancel(OpId id) override;
  std::string_view engine() const override { return "io_uring"; }

 private:
  struct Request {
    OpId id;
    bool cancel;
  };
  struct Completion {
    uint64_t tag;
    int result;
  };

  void begin_run() override;
  void start_pending() override;
  bool has_pending() const override { return !pending_.empty() || !wake_armed_; }
  void wait(std::optional<std::chrono::nanoseconds> timeout) override;
  void end_run() override;

  OpId start(UringOp op);
  // Nothing when the submission queue stays full: the kernel is short of memory, and completions must be
  // taken first.
  io_uring_sqe* next_sqe();
  bool arm_wake();
  bool submit(const Request& request);
  bool submit_start(OpId id);
  bool submit_cancel(uint64_t tag);
  int enter(std::optional<std::chrono::nanoseconds> timeout);
  void reap();
  void on_completion(const Completion& completion);
  void landed(UringOp& op);
  void finish(OpId id, int64_t outcome);
  void cancel_in_flight();
  void drop_operations();

  std::unique_ptr<Ring> ring_;
  std::thread::id issuer_;  // the thread the kernel takes submissions from
  std::unordered_map<OpId, UringOp> ops_;
  std::deque<Request> pending_;     // asked for, not yet in the submission queue
  std::deque<OpId> waiting_files_;  // beyond kMaxFileOps
  size_t files_in_flight_ = 0;
  size_t in_flight_ = 0;
  uint64_t wake_count_ = 0;  // the kernel writes here
  bool wake_armed_ = false;
  bool draining_ = false;
};

UringLoop::~UringLoop() {
  drop_operations();
  drop_tasks();
}

OpId UringLoop::start(UringOp op) {
  check_thread();
  const OpId id = new_op_id();
  ops_.emplace(id, std::move(op));
  pending_.push_back({id, false});
  return id;
}

OpId UringLoop::recv(int fd, std::span<std::byte> buffer, IoDone done) {
  RSYNCFS_CHECK(!buffer.empty());
  UringOp op(IoOp::kRecv, fd, std::move(done));
  op.set_buffer(buffer);
  return start(std::move(op));
}

OpId UringLoop::send(int fd, std::span<const iovec> data, IoDone done) {
  UringOp op(IoOp::kSend, fd, std::move(done));
  op.set_parts(data.first(std::min<size_t>(data.size(), IOV_MAX)));
  return start(std::move(op));
}

OpId UringLoop::connect(int fd, const sockaddr* address, socklen_t length, IoDone done) {
  UringOp op(IoOp::kConnect, fd, std::move(done));
  op.set_address(address, length);
  return start(std::move(op));
}

OpId UringLoop::accept(int fd, IoDone done) {
  return start(UringOp(IoOp::kAccept, fd, std::move(done)));
}

OpId UringLoop::poll_readable(int fd, IoDone done) {
  return start(UringOp(IoOp::kPoll, fd, std::move(done)));
}

OpId UringLoop::read_at(int fd, std::span<std::byte> buffer, uint64_t offset, IoDone done) {
  UringOp op(IoOp::kRead, fd, std::move(done));
  op.set_buffer(buffer);
  op.set_offset(offset);
  return start(std::move(op));
}

OpId UringLoop::write_at(int fd, std::span<const std::byte> data, uint64_t offset, IoDone done) {
  UringOp op(IoOp::kWrite, fd, std::move(done));
  op.set_buffer(data);
  op.set_offset(offset);
  return start(std::move(op));
}

OpId UringLoop::fsync(int fd, bool data_only, IoDone done) {
  UringOp op(IoOp::kFsync, fd, std::move(done));
  op.set_data_only(data_only);
  return start(std::move(op));
}

void UringLoop::cancel(OpId id) {
  check_thread();
  const auto found = ops_.find(id);
  if (found == ops_.end() || found->second.cancelled) return;
  found->second.cancelled = true;
  // Not in flight: whatever queue it is in, the request below completes it, and what is left in queues is
  // ignored.
  pending_.push_back({id, found->second.in_flight});
}

void UringLoop::begin_run() {
  if (issuer_ == std::thread::id{}) {
    issuer_ = std::this_thread::get_id();
    const auto enabled = ring_->enable();
    RSYNCFS_CHECK(enabled.ok());
  }
  RSYNCFS_CHECK(issuer_ == std::this_thread::get_id());
}

io_uring_sqe* UringLoop::next_sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(ring_->get());
  if (sqe != nullptr) return sqe;
  counters_.submits.fetch_add(1, std::memory_order_relaxed);
  const int submitted = io_uring_submit(ring_->get());
  RSYNCFS_CHECK(submitted >= 0 || submitted == -EAGAIN || submitted == -EBUSY || submitted == -EINTR);
  return io_uring_get_sqe(ring_->get());
}

bool UringLoop::arm_wake() {
  if (wake_armed_) return true;
  io_uring_sqe* const sqe = next_sqe();
  if (sqe == nullptr) return false;
  io_uring_prep_read(sqe, posted_.wake_fd(), &wake_count_, sizeof wake_count_, static_cast<uint64_t>(-1));
  io_uring_sqe_set_data64(sqe, kWakeTag);
  wake_armed_ = true;
  return true;
}

void UringLoop::start_pending() {
  if (!arm_wake()) return;
  // What completions start meanwhile is left for the next turn.
  for (size_t count = pending_.size(); count > 0 && !pending_.empty(); --count) {
    const Request request = pending_.front();
    pending_.pop_front();
    if (!submit(request)) {
      pending_.push_front(request);
      return;
    }
  }
}

bool UringLoop::submit(const Request& request) {
  const auto found = ops_.find(request.id);
  if (found == ops_.end()) return true;
  if (request.cancel) return !found->second.in_flight || submit_cancel(request.id);
  if (found->second.in_flight) return true;
  if (found->second.cancelled) {
    finish(request.id, -ECANCELED);
    return true;
  }
  return submit_start(request.id);
}

bool UringLoop::submit_start(OpId id) {
  UringOp& op = ops_.at(id);
  if (op.is_file() && files_in_flight_ >= kMaxFileOps) {
    waiting_files_.push_back(id);
    return true;
  }
  io_uring_sqe* const sqe = next_sqe();
  if (sqe == nullptr) return false;
  op.prepare(sqe);
  io_uring_sqe_set_data64(sqe, id);
  op.in_flight = true;
  ++in_flight_;
  if (op.is_file()) ++files_in_flight_;
  return true;
}

bool UringLoop::submit_cancel(uint64_t tag) {
  io_uring_sqe* const sqe = next_sqe();
  if (sqe == nullptr) return false;
  io_uring_prep_cancel64(sqe, tag, 0);
  io_uring_sqe_set_data64(sqe, kCancelTag);
  return true;
}

void UringLoop::wait(std::optional<std::chrono::nanoseconds> timeout) {
  counters_.submits.fetch_add(1, std::memory_order_relaxed);
  // The return values say little (submissions, 0, or an error beside completions): the queue is what counts.
  const int result = enter(timeout);
  RSYNCFS_CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN || result == -EBUSY);
  reap();
}

int UringLoop::enter(std::optional<std::chrono::nanoseconds> timeout) {
  // Not a wait of zero length: the kernel would set a timer and go to sleep for it, which costs 20 us.
  if (timeout == std::chrono::nanoseconds::zero()) return io_uring_submit_and_get_events(ring_->get());
  io_uring_cqe* first = nullptr;
  if (!timeout) return io_uring_submit_and_wait_timeout(ring_->get(), &first, 1, nullptr, nullptr);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*timeout);
  __kernel_timespec limit{.tv_sec = seconds.count(), .tv_nsec = (*timeout - seconds).count()};
  return io_uring_submit_and_wait_timeout(ring_->get(), &first, 1, &limit, nullptr);
}

void UringLoop::reap() {
  std::array<Completion, 64> batch{};
  // One queue length per turn, so that operations which complete at once cannot starve timers and posted
  // tasks.
  for (size_t taken = 0; taken < Ring::kCompletions;) {
    size_t count = 0;
    unsigned head = 0;
    const io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(ring_->get(), head, cqe) {
      batch[count++] = {cqe->user_data, cqe->res};
      if (count == batch.size()) break;
    }
    if (count == 0) return;
    io_uring_cq_advance(ring_->get(), static_cast<unsigned>(count));
    taken += count;
    for (size_t i = 0; i < count; ++i) on_completion(batch[i]);
  }
}

void UringLoop::landed(UringOp& op) {
  op.in_flight = false;
  --in_flight_;
  if (!op.is_file()) return;
  --files_in_flight_;
  while (!waiting_files_.empty()) {
    const OpId next = waiting_files_.front();
    waiting_files_.pop_front();
    if (!ops_.contains(next)) continue;  // cancelled while it waited
    pending_.push_back({next, false});
    return;
  }
}

void UringLoop::on_completion(const Completion& completion) {
  if (completion.tag == kWakeTag) wake_armed_ = false;
  if (completion.tag >= kWakeTag) return;
  const auto found = ops_.find(completion.tag);
  RSYNCFS_CHECK(found != ops_.end() && found->second.in_flight);
  UringOp& op = found->second;
  landed(op);
  if (draining_) {
    // Nobody will be told: a descriptor that only the completion would have closed is closed here.
    if (op.kind() == IoOp::kAccept && completion.result >= 0) ::close(completion.result);
    return;
  }
  if (const auto outcome = op.completed(completion.result)) {
    finish(completion.tag, *outcome);
  } else {
    pending_.push_back({completion.tag, false});
  }
}

void UringLoop::finish(OpId id, int64_t outcome) {
  auto node = ops_.extract(id);
  complete(node.mapped().kind(), node.mapped().done, outcome);
}

void UringLoop::cancel_in_flight() {
  for (const auto& [id, op] : ops_) {
    if (op.in_flight && !submit_cancel(id)) return;
  }
  if (wake_armed_) submit_cancel(kWakeTag);
}

void UringLoop::end_run() {
  draining_ = true;
  while (in_flight_ > 0 || wake_armed_) {
    cancel_in_flight();
    const auto again = Clock::now() + kCancelAgain;
    while ((in_flight_ > 0 || wake_armed_) && Clock::now() < again) wait(kCancelAgain);
  }
  draining_ = false;
  drop_operations();
}

void UringLoop::drop_operations() {
  // What completions captured may start more as it goes; those are dropped in turn, up to this many
  // generations.
  constexpr int kRounds = 16;
  for (int i = 0; i < kRounds && !ops_.empty(); ++i) {
    pending_.clear();
    waiting_files_.clear();
    const auto dropped = std::exchange(ops_, {});
  }
}

}  // namespace

Result<UringSelection> make_uring_loop() {
  // The loop's own ring belongs to the thread that will run it, so another one has to answer whether rings
  // work here.
  auto trial = Ring::open(Ring::Start::kNow);
  if (!trial.ok()) return trial.error();
  if (const auto usable = (*trial)->probe(); !usable.ok()) return usable.error();
  auto ring = Ring::open(Ring::Start::kLater);
  if (!ring.ok()) return ring.error();
  auto wake = PostQueue::make_wake_fd();
  if (!wake.ok()) return wake.error();
  std::string description = (*ring)->describe();
  return UringSelection{std::make_unique<UringLoop>(std::move(*wake), std::move(*ring)),
                        std::move(description)};
}

}  // namespace rsyncfs
