// SPDX-License-Identifier: GPL-3.0-or-later
// A connected descriptor to a real rsync, for what drives a session by waiting for it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/base/byte_queue.h"
#include "io/base/result.h"
#include "tests/support/child_process.h"

namespace rsyncfs::support {

// What a session does with bytes.
struct SessionCalls {
  std::function<ByteQueue&()> output;
  std::function<Result<void>(std::span<const std::byte>)> receive;
  std::function<Result<void>()> end_of_input;
};

class PeerConnection {
 public:
  // Connects to 127.0.0.1:port, or runs a program on a socket pair. Throw SetupFailure if that fails.
  static std::unique_ptr<PeerConnection> over_tcp(uint16_t port);
  static std::unique_ptr<PeerConnection> over_pipe(const std::vector<std::string>& argv);
  ~PeerConnection();
  PeerConnection(const PeerConnection&) = delete;
  PeerConnection& operator=(const PeerConnection&) = delete;

  // As far as the connection takes it, without reading anything.
  Result<void> send_some(ByteQueue& output);
  // Sends and receives until the condition holds, an error, or the limit (Errc::kTimedOut).
  Result<void> pump_until(const SessionCalls& session, const std::function<bool()>& condition,
                          std::chrono::milliseconds limit);
  void close();
  bool at_end() const { return at_end_; }

  size_t read_size = 64 * 1024;   // at most so much is given to the session at once
  std::string* record = nullptr;  // gets every byte from the server
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;

 private:
  PeerConnection() = default;
  Result<void> receive_some(const SessionCalls& session);

  std::unique_ptr<ChildProcess> server_;
  int fd_ = -1;
  bool at_end_ = false;
};

}  // namespace rsyncfs::support
