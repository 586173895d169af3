// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel's end of a FUSE session over a socket pair: single requests, and exactly the replies that come.
#pragma once

#include <linux/fuse.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fs/fuse/mount_context.h"
#include "fs/fuse/session.h"
#include "fs/fuse/worker_pool.h"
#include "fs/tree/tree.h"

namespace rsyncfs::testing {

struct FakeReply {
  uint64_t unique = 0;
  int error = 0;  // 0 or a positive errno
  std::string payload;
  template <class T>
  T as(size_t offset = 0) const {
    T value{};
    if (payload.size() >= offset + sizeof value)
      payload.copy(reinterpret_cast<char*>(&value), sizeof value, offset);
    return value;
  }
};

// One thread uses it; the session's workers are its own.
class FakeKernel {
 public:
  // Serves `tree` with `workers` threads and has FUSE_INIT answered.
  explicit FakeKernel(Tree& tree, FrontOptions options = {});
  ~FakeKernel();

  // Sends one request; returns its number.
  uint64_t send(uint32_t opcode, NodeId node, std::string_view body = {});
  template <class T>
  uint64_t send(uint32_t opcode, NodeId node, const T& body) {
    return send(opcode, node, std::string_view(reinterpret_cast<const char*>(&body), sizeof body));
  }
  // Its own number comes back, with EAGAIN, when libfuse knows no such request (any more).
  uint64_t interrupt(uint64_t unique);
  // The next reply, whichever it is; nullopt when none comes in time.
  std::optional<FakeReply> receive(int limit_ms = 10'000);
  // Sends and takes the answer.
  FakeReply call(uint32_t opcode, NodeId node, std::string_view body = {});
  uint64_t read(NodeId file, uint64_t offset, uint32_t size);

  const fuse_init_out& init() const { return init_; }
  MountContext& context() { return context_; }
  void stop_workers() { workers_.reset(); }

 private:
  Notifier notifier_;  // of nothing
  MountContext context_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<WorkerPool> workers_;
  int fd_ = -1;
  uint64_t next_ = 2;
  fuse_init_out init_{};
};

}  // namespace rsyncfs::testing
