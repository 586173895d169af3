// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/port_lease.h"

namespace rsyncfs::support {

// A relay on a loopback port to a server on another one, with all that networks do to connections. What it is
// told holds from then on, for connections that there are and new ones. Any thread.
class UnreliableLink {
 public:
  explicit UnreliableLink(uint16_t server_port);
  ~UnreliableLink();
  UnreliableLink(const UnreliableLink&) = delete;
  UnreliableLink& operator=(const UnreliableLink&) = delete;

  uint16_t port() const { return lease_.port(); }

  // Everything passes, at once.
  void heal() { set({}); }
  // Each way; connections that are made from then on take their handshake, as a client of theirs sees it.
  void delay(std::chrono::milliseconds by) { set({.delay = by}); }
  // Nothing passes, and nobody is told: a pulled cable.
  void stall() { set({.stalled = true}); }
  // Nor are new connections taken, beyond those that the kernel takes by itself.
  void freeze() { set({.stalled = true, .frozen = true}); }
  // After so many bytes more, all together, every connection ends in the middle of what is said.
  void truncate_after(uint64_t bytes) { set({.truncates = true, .bytes_left = bytes}); }
  // All connections end by a reset.
  void reset();

  void count_flights();
  // Of each connection, in the order in which they were made: how often, since count_flights(), its client
  // went on because of what it had heard; the first time included. With a delay() of some tens of ms that is
  // the number of round trips that it waited for, beside TCP's own.
  std::vector<int> flights() const;

  // What passes, once it is to go on: up is to the server. On the link's thread.
  using Tamper = std::function<void(std::string& bytes, bool up)>;
  void tamper(Tamper with);

 private:
  struct Weather {
    std::chrono::milliseconds delay{0};
    bool stalled = false;
    bool frozen = false;
    bool truncates = false;
    uint64_t bytes_left = 0;
  };
  struct Pair;

  void set(const Weather& weather);
  void run();
  void accept_one(std::chrono::milliseconds one_way);
  void note_sent(Pair& pair, size_t before);
  void note_answered(Pair& pair, size_t before);
  void wake() const;

  const uint16_t server_port_;
  PortLease lease_;
  int listener_ = -1;
  int wake_fd_ = -1;
  mutable std::mutex mutex_;  // guards all below but the thread
  Weather weather_;
  std::vector<int> flights_;
  Tamper tamper_;
  bool resets_ = false;
  bool ending_ = false;
  std::list<Pair> pairs_;  // the thread's
  std::thread thread_;
};

}  // namespace rsyncfs::support
