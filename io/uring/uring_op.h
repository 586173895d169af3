// SPDX-License-Identifier: GPL-3.0-or-later
// One operation on its way through the ring, which may take several submissions.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <liburing.h>

#include "io/loop.h"

namespace rsyncfs {

// Its address must not change while it is in flight: the kernel reads the message and the address from it.
class UringOp {
 public:
  UringOp(IoOp op, int fd, IoDone completion) : done(std::move(completion)), kind_(op), fd_(fd) {}

  void set_buffer(std::span<std::byte> into) { in_ = into; }
  void set_buffer(std::span<const std::byte> from) { out_ = from; }
  void set_offset(uint64_t offset) { offset_ = offset; }
  void set_parts(std::span<const iovec> parts) { parts_.assign(parts.begin(), parts.end()); }
  void set_address(const sockaddr* address, socklen_t length);
  void set_data_only(bool data_only) { data_only_ = data_only; }

  IoOp kind() const { return kind_; }
  bool is_file() const { return kind_ == IoOp::kRead || kind_ == IoOp::kWrite || kind_ == IoOp::kFsync; }

  void prepare(io_uring_sqe* sqe);
  // The outcome for the completion (bytes, a descriptor, or -errno); nothing: it has to be submitted again.
  std::optional<int64_t> completed(int result);

  IoDone done;
  bool in_flight = false;
  bool cancelled = false;

 private:
  // What the next submission is.
  enum class Step : uint8_t { kOperation, kPollIn, kPollOut };

  std::optional<int64_t> file_moved(int result);
  std::optional<int64_t> polled(int result);
  bool is_inward() const { return kind_ == IoOp::kRecv || kind_ == IoOp::kAccept; }

  IoOp kind_;
  int fd_;
  Step step_ = Step::kOperation;
  bool not_socket_ = false;  // recv and send have found a pipe
  bool data_only_ = false;
  bool force_async_ = false;
  std::span<std::byte> in_;         // recv, read: what is left of it
  std::span<const std::byte> out_;  // write: what is left of it
  uint64_t offset_ = 0;
  size_t moved_ = 0;
  std::vector<iovec> parts_;  // send
  msghdr message_{};
  sockaddr_storage address_{};
  socklen_t address_length_ = 0;
};

}  // namespace rsyncfs
