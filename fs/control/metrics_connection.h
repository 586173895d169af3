// SPDX-License-Identifier: GPL-3.0-or-later
// One client of the metrics server, from its request to the end of its answer. Loop thread only.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "fs/control/http_head.h"
#include "fs/control/metrics_server.h"

namespace rsyncfs {

// Lives while an operation of it is under way, or its answer is awaited.
class MetricsConnection : public std::enable_shared_from_this<MetricsConnection> {
 public:
  using Ask = std::function<void(MetricsServer::Answer)>;
  MetricsConnection(Loop& loop, UniqueFd fd, Ask ask, UniqueFunction<void(MetricsConnection*)> closed)
      : loop_(loop), fd_(std::move(fd)), ask_(std::move(ask)), closed_(std::move(closed)) {}

  void start();
  void close();

 private:
  void receive();
  void on_received(const Result<size_t>& count);
  void answer(const HttpRequest& request);
  void send(std::string answer);
  void send_more();
  void drain();

  Loop& loop_;
  UniqueFd fd_;
  Ask ask_;
  UniqueFunction<void(MetricsConnection*)> closed_;
  std::array<std::byte, 1024> buffer_{};
  std::string input_;
  std::string sending_;  // given to the loop from sent_ on; must not move
  size_t sent_ = 0;
  size_t drained_ = 0;  // bytes that came after the request
  TimerId limit_ = 0;
  bool open_ = true;
};

}  // namespace rsyncfs
