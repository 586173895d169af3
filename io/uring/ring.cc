// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/uring/ring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace rsyncfs {

namespace {

// From the newest kernel's best to the plainest; a kernel that does not know a flag answers EINVAL.
constexpr std::array<unsigned, 5> kFlagSteps = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,  // 6.1
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,   // 6.0
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,                                // 5.19
    IORING_SETUP_SUBMIT_ALL,                                                            // 5.18
    0,
};

struct NamedFlag {
  unsigned flag;
  std::string_view name;
};
constexpr std::array<NamedFlag, 3> kFlagNames = {{{IORING_SETUP_SINGLE_ISSUER, "SINGLE_ISSUER"},
                                                  {IORING_SETUP_DEFER_TASKRUN, "DEFER_TASKRUN"},
                                                  {IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN"}}};

// Waiting with a timeout without a timeout request (5.11), and completions that are never dropped (5.5).
constexpr unsigned kFeatures = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;

struct NamedOperation {
  int opcode;
  std::string_view name;
};
constexpr std::array<NamedOperation, 14> kOperations = {{{IORING_OP_NOP, "NOP"},
                                                         {IORING_OP_READ, "READ"},
                                                         {IORING_OP_WRITE, "WRITE"},
                                                         {IORING_OP_WRITEV, "WRITEV"},
                                                         {IORING_OP_RECV, "RECV"},
                                                         {IORING_OP_SENDMSG, "SENDMSG"},
                                                         {IORING_OP_CONNECT, "CONNECT"},
                                                         {IORING_OP_ACCEPT, "ACCEPT"},
                                                         {IORING_OP_POLL_ADD, "POLL_ADD"},
                                                         {IORING_OP_FSYNC, "FSYNC"},
                                                         {IORING_OP_OPENAT, "OPENAT"},
                                                         {IORING_OP_CLOSE, "CLOSE"},
                                                         {IORING_OP_UNLINKAT, "UNLINKAT"},
                                                         {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"}}};

}  // namespace

Result<std::unique_ptr<Ring>> Ring::open(Start start) {
  int error = -EINVAL;
  for (const unsigned flags : kFlagSteps) {
    std::unique_ptr<Ring> ring(new Ring);
    io_uring_params params{};
    params.flags = flags | IORING_SETUP_CQSIZE | (start == Start::kLater ? IORING_SETUP_R_DISABLED : 0U);
    params.cq_entries = kCompletions;
    error = io_uring_queue_init_params(kEntries, &ring->ring_, &params);
    if (error == 0 && (params.features & kFeatures) != kFeatures) {
      return Error(Errc::kUnsupported, "the kernel's io_uring is too old");
    }
    if (error == 0) return ring;
    // Nothing was made: there is nothing for the destructor to close.
    ring->ring_.ring_fd = -1;
    if (error != -EINVAL) break;
  }
  return Error::os(-error, "io_uring_setup");
}

Result<void> Ring::probe() {
  io_uring_probe* const known = io_uring_get_probe_ring(&ring_);
  if (known == nullptr) return Error(Errc::kUnsupported, "io_uring cannot be asked for its operations");
  for (const auto& operation : kOperations) {
    if (io_uring_opcode_supported(known, operation.opcode) != 0) continue;
    io_uring_free_probe(known);
    return Error(Errc::kUnsupported, "io_uring has no " + std::string(operation.name));
  }
  io_uring_free_probe(known);

  io_uring_prep_nop(io_uring_get_sqe(&ring_));
  if (const int submitted = io_uring_submit(&ring_); submitted < 0)
    return Error::os(-submitted, "io_uring_enter");
  // Long for a NOP, short for a person who waits for a mount.
  __kernel_timespec patience{.tv_sec = 2, .tv_nsec = 0};
  io_uring_cqe* cqe = nullptr;
  if (const int waited = io_uring_wait_cqe_timeout(&ring_, &cqe, &patience); waited < 0) {
    return Error::os(-waited, "io_uring NOP");
  }
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  if (result < 0) return Error::os(-result, "io_uring NOP");
  return {};
}

Result<void> Ring::enable() {
  // liburing 2.3 declares io_uring_enable_rings() and does not export it.
  if (::syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) < 0) {
    return Error::os(errno, "io_uring_register");
  }
  return {};
}

std::string Ring::describe() const {
  std::string text = std::to_string(kEntries) + " entries";
  for (const auto& flag : kFlagNames) {
    if ((ring_.flags & flag.flag) != 0) text.append(", ").append(flag.name);
  }
  return text;
}

}  // namespace rsyncfs
