// SPDX-License-Identifier: GPL-3.0-or-later
// Serves the metrics page over HTTP/1.1 on the loop: GET or HEAD of /metrics, one request a connection. Who
// is slow, asks nonsense or comes too often costs a bounded amount and nobody else anything. Source: RFC
// 9112.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "io/base/result.h"
#include "io/base/unique_fd.h"
#include "io/base/unique_function.h"
#include "io/loop.h"

namespace rsyncfs {

// A listening Unix socket with this mode. A socket there on which nobody listens any more is replaced;
// nothing else is: kRefused.
Result<UniqueFd> listen_metrics(const std::string& path, mode_t mode);
// On 127.0.0.1, or ::1. `port` 0: one that is free.
Result<UniqueFd> listen_metrics(uint16_t port, bool six);

class MetricsServer {
 public:
  static constexpr size_t kMaxConnections = 16;            // more are closed at once
  static constexpr size_t kMaxRequest = 8192;              // bytes, with all header fields
  static constexpr std::chrono::seconds kLimit{10};        // for a connection, from its beginning to its end
  static constexpr std::chrono::milliseconds kFresh{200};  // a page is given again for so long

  using Answer = UniqueFunction<void(Result<std::string>)>;
  // Called on the loop thread with an answer to be called there, once; must not block.
  using Page = std::function<void(Answer)>;

  // Any thread, before or while the loop runs.
  static std::unique_ptr<MetricsServer> create(Loop& loop, UniqueFd listener, Page page);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // Loop thread.
  void start();
  // Loop thread, once: closes all. Nothing calls `page` after that.
  void stop();

 private:
  class Impl;
  explicit MetricsServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace rsyncfs
