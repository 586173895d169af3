// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/uring/ring_file_batch.h"

#include <unistd.h>

#include <algorithm>
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

void put_outcome(FileRead& read, int64_t outcome) {
  read.got = outcome < 0 ? 0 : static_cast<size_t>(outcome);
  read.error = outcome < 0 ? static_cast<int>(-outcome) : 0;
}

void put_outcome(FileSync& sync, int64_t outcome) {
  sync.error = outcome < 0 ? static_cast<int>(-outcome) : 0;
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
  std::vector<UringOp> ops_;
  std::vector<size_t> again_;  // moved in part, or told to come back
  size_t next_ = 0;
  size_t in_flight_ = 0;
};

// Null: this thread gets none, for want of memory or descriptors.
Ring* ring_of_this_thread() {
  thread_local std::unique_ptr<Ring> ring;
  thread_local pid_t owner = 0;
  // After fork() it is still the parent's, whose completions these would be.
  if (owner != ::getpid()) ring.reset();
  owner = ::getpid();
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
  void read_many(std::span<FileRead> reads) override {
    Ring* const ring = ring_of_this_thread();
    if (ring != nullptr) return Call<FileRead>(*ring, reads).run();
    for (FileRead& read : reads) read_now(read);
  }
  void sync_many(std::span<FileSync> syncs) override {
    Ring* const ring = ring_of_this_thread();
    if (ring != nullptr) return Call<FileSync>(*ring, syncs).run();
    for (FileSync& sync : syncs) sync_now(sync);
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
