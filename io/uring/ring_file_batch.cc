// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/uring/ring_file_batch.h"

#include <fcntl.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "io/file_calls.h"
#include "io/uring/ring.h"
#include "io/uring/uring_op.h"

namespace rsyncfs {

namespace {

static_assert(FileBatch::kDepth <= Ring::kEntries);

// How many completions a full ring is waited for: each wait is a system call, and with too many the disk
// idles.
constexpr size_t kCompletionsPerWait = 16;

UringOp op_of(const FileRead& read) {
  UringOp op(IoOp::kRead, read.fd, nullptr);
  op.set_buffer(read.into);
  op.set_offset(read.offset);
  return op;
}

UringOp op_of(const FileSync& sync) {
  UringOp op(IoOp::kFsync, sync.fd, nullptr);
  op.set_data_only(sync.data_only);
  return op;
}

// Nobody else makes these, so they take their items as they are.
class LoadOp {
 public:
  explicit LoadOp(const FileLoad& load) : path_(load.path), left_(load.into) {}

  void prepare(io_uring_sqe* sqe) const {
    switch (step_) {
      case Step::kOpen:
        return io_uring_prep_openat(sqe, AT_FDCWD, path_, kLoadFlags, 0);
      case Step::kRead:
        return io_uring_prep_read(sqe, fd_, left_.data(), static_cast<unsigned>(left_.size()), moved_);
      case Step::kClose:
        return io_uring_prep_close(sqe, fd_);
    }
  }
  std::optional<int64_t> completed(int result) {
    if (result == -EINTR || result == -EAGAIN) {
      // Of a close the descriptor is gone all the same.
      return step_ == Step::kClose ? std::optional(outcome_) : std::nullopt;
    }
    switch (step_) {
      case Step::kOpen:
        if (result < 0) return result;
        fd_ = result;
        step_ = left_.empty() ? Step::kClose : Step::kRead;
        return std::nullopt;
      case Step::kRead:
        if (result > 0) {
          moved_ += static_cast<size_t>(result);
          left_ = left_.subspan(static_cast<size_t>(result));
        }
        outcome_ = result < 0 && moved_ == 0 ? result : static_cast<int64_t>(moved_);
        if (result <= 0 || left_.empty()) step_ = Step::kClose;
        return std::nullopt;
      case Step::kClose:
        break;
    }
    return outcome_;
  }

 private:
  enum class Step : uint8_t { kOpen, kRead, kClose };

  const char* path_;
  std::span<std::byte> left_;
  size_t moved_ = 0;
  int64_t outcome_ = 0;
  int fd_ = -1;
  Step step_ = Step::kOpen;
};

class RemovalOp {
 public:
  explicit RemovalOp(const FileRemoval& removal) : path_(removal.path) {}
  void prepare(io_uring_sqe* sqe) const { io_uring_prep_unlinkat(sqe, AT_FDCWD, path_, 0); }
  static std::optional<int64_t> completed(int result) {
    return result == -EINTR || result == -EAGAIN ? std::nullopt : std::optional<int64_t>(result);
  }

 private:
  const char* path_;
};

LoadOp op_of(const FileLoad& load) {
  return LoadOp(load);
}

RemovalOp op_of(const FileRemoval& removal) {
  return RemovalOp(removal);
}

void put_outcome(FileRead& read, int64_t outcome) {
  read.got = outcome < 0 ? 0 : static_cast<size_t>(outcome);
  read.error = outcome < 0 ? static_cast<int>(-outcome) : 0;
}

void put_outcome(FileSync& sync, int64_t outcome) {
  sync.error = outcome < 0 ? static_cast<int>(-outcome) : 0;
}

void put_outcome(FileLoad& load, int64_t outcome) {
  load.got = outcome < 0 ? 0 : static_cast<size_t>(outcome);
  load.error = outcome < 0 ? static_cast<int>(-outcome) : 0;
}

void put_outcome(FileRemoval& removal, int64_t outcome) {
  removal.error = outcome < 0 ? static_cast<int>(-outcome) : 0;
}

// One call on the ring of its thread; returns when the kernel has nothing of it any more.
template <class Item>
class Call {
 public:
  Call(Ring& ring, std::span<Item> items) : ring_(ring), items_(items) { ops_.reserve(items.size()); }

  void run() {
    for (const Item& item : items_) ops_.push_back(op_of(item));
    while (next_ < ops_.size() || !again_.empty() || in_flight_ > 0) {
      submit();
      const bool more = next_ < ops_.size() || !again_.empty();
      wait(more ? std::min(in_flight_, kCompletionsPerWait) : in_flight_);
      reap();
    }
  }

 private:
  void submit() {
    while (in_flight_ < FileBatch::kDepth && (next_ < ops_.size() || !again_.empty())) {
      io_uring_sqe* const sqe = io_uring_get_sqe(ring_.get());
      if (sqe == nullptr) return;
      size_t index = next_;
      if (again_.empty()) {
        ++next_;
      } else {
        index = again_.back();
        again_.pop_back();
      }
      ops_[index].prepare(sqe);
      io_uring_sqe_set_data64(sqe, index);
      ++in_flight_;
    }
  }
  // What it returns says little: the queue is what counts.
  void wait(size_t completions) {
    const int result = io_uring_submit_and_wait(ring_.get(), static_cast<unsigned>(completions));
    RSYNCFS_CHECK(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY);
  }
  void reap() {
    unsigned count = 0;
    unsigned head = 0;
    const io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(ring_.get(), head, cqe) {
      ++count;
      const auto index = static_cast<size_t>(cqe->user_data);
      if (const auto outcome = ops_[index].completed(cqe->res)) {
        put_outcome(items_[index], *outcome);
      } else {
        again_.push_back(index);
      }
    }
    io_uring_cq_advance(ring_.get(), count);
    in_flight_ -= count;
  }

  Ring& ring_;
  const std::span<Item> items_;
  std::vector<decltype(op_of(std::declval<const Item&>()))> ops_;
  std::vector<size_t> again_;  // moved in part, told to come back, or not at their last step
  size_t next_ = 0;
  size_t in_flight_ = 0;
};

// How often this process has become another one.
std::atomic<unsigned>& forks() {
  static std::atomic<unsigned> count{0};
  static const int kCounted = ::pthread_atfork(nullptr, nullptr, [] { ++count; });
  RSYNCFS_CHECK(kCounted == 0);
  return count;
}

// Null: this thread gets none, for want of memory or descriptors.
Ring* ring_of_this_thread() {
  thread_local std::unique_ptr<Ring> ring;
  thread_local unsigned opened_after = 0;
  // After fork() it is still the parent's, whose completions these would be.
  if (opened_after != forks()) ring.reset();
  opened_after = forks();
  if (!ring) {
    auto opened = Ring::open(Ring::Start::kNow);
    if (opened) ring = std::move(*opened);
  }
  return ring.get();
}

class RingFileBatch final : public FileBatch {
 public:
  std::string_view engine() const override { return "io_uring"; }

 protected:
  void read_many(std::span<FileRead> reads) override { run(reads, read_now); }
  void sync_many(std::span<FileSync> syncs) override { run(syncs, sync_now); }
  void load_many(std::span<FileLoad> loads) override { run(loads, load_now); }
  void remove_many(std::span<FileRemoval> removals) override { run(removals, remove_now); }

 private:
  template <class Item>
  static void run(std::span<Item> items, void (*perform)(Item&)) {
    Ring* const ring = ring_of_this_thread();
    if (ring != nullptr) return Call<Item>(*ring, items).run();
    for (Item& item : items) perform(item);
  }
};

}  // namespace

Result<RingFileBatchSelection> make_ring_file_batch() {
  auto trial = Ring::open(Ring::Start::kNow);
  if (!trial.ok()) return trial.error();
  if (const auto usable = (*trial)->probe(); !usable.ok()) return usable.error();
  return RingFileBatchSelection{std::make_unique<RingFileBatch>(), (*trial)->describe()};
}

}  // namespace rsyncfs
