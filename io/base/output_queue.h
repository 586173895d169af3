// SPDX-License-Identifier: GPL-3.0-or-later
// What a connection has still to send, in order: small frames are copied together, large pieces stay where
// they are until the kernel takes them.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <span>

#include "io/base/buffer_pool.h"
#include "io/base/byte_queue.h"

namespace rsyncfs {

// One owner.
class OutputQueue {
 public:
  size_t size() const { return parts_bytes_ + tail_.size(); }
  bool empty() const { return size() == 0; }
  // Where small things are appended; always the same queue. What is consumed from it was never shared.
  ByteQueue& tail() { return tail_; }
  void append_shared(SharedBytes bytes);
  // Everything in `other`, which is empty then.
  void append(OutputQueue& other);
  void append(ByteQueue& other);

  // The first bytes, at most `out.size()` parts of them; returns how many parts. Valid until the next call
  // that changes the queue.
  size_t gather(std::span<iovec> out) const;
  // n <= size().
  void consume(size_t n);

 private:
  void seal_tail();

  std::deque<SharedBytes> parts_;
  size_t parts_bytes_ = 0;
  ByteQueue tail_;  // behind all parts
};

}  // namespace rsyncfs
