// SPDX-License-Identifier: GPL-3.0-or-later
// One client of the control socket. Loop thread only.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "fs/control/server.h"
#include "io/base/unique_fd.h"

namespace rsyncfs {

// Lives while an operation of it is under way, or a reply is held.
class ControlConnection : public std::enable_shared_from_this<ControlConnection> {
 public:
  ControlConnection(Loop& loop, UniqueFd fd, ControlHandler& handler,
                    UniqueFunction<void(ControlConnection*)> closed)
      : loop_(loop), fd_(std::move(fd)), handler_(handler), closed_(std::move(closed)) {}

  void start();
  // Ends it as soon as no request is under way.
  void finish_and_close();
  void close();

 private:
  class Reply;

  void receive();
  void on_received(const Result<size_t>& count);
  void take_requests();
  void begin(std::string_view line);
  void send_line(std::string line);
  void send_more();
  void on_sent(const Result<size_t>& count);
  void watch_idle();
  void wake_to_watch(std::chrono::nanoseconds after);
  size_t unsent() const { return sending_.size() - sent_ + queued_.size(); }

  Loop& loop_;
  UniqueFd fd_;
  ControlHandler& handler_;
  UniqueFunction<void(ControlConnection*)> closed_;
  std::array<std::byte, 4096> buffer_{};
  std::string input_;
  std::string sending_;  // given to the loop from sent_ on; must not move
  size_t sent_ = 0;
  std::string queued_;
  bool send_under_way_ = false;
  bool open_ = true;
  bool closing_ = false;  // no more requests
  std::weak_ptr<Reply> request_;
  bool taking_ = false;   // requests are being taken from input_
  bool watched_ = false;  // a timer will look how long it has been idle
  Clock::time_point idle_since_;
};

}  // namespace rsyncfs
