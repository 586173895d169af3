// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/port_lease.h"

namespace rsyncfs::support {

// A relay on a loopback port to a server on another one, which counts the bytes that pass, both ways
// together, and can stop after any of them. Its calls may come from any thread, but one at a time.
class MeteredProxy {
 public:
  explicit MeteredProxy(uint16_t server_port);
  ~MeteredProxy();
  MeteredProxy(const MeteredProxy&) = delete;
  MeteredProxy& operator=(const MeteredProxy&) = delete;

  uint16_t port() const { return lease_.port(); }

  // Counts from 0 again and remembers in what pieces the bytes pass.
  void count();
  // What passed since count(), as the total after each piece.
  std::vector<uint64_t> pieces() const;
  // Counts from 0 again, and goes on if it has stopped. When exactly so many bytes have passed nothing more
  // does, and `event` is called, on the proxy's own thread: it may cut(). Connections that are made then wait
  // until release().
  void stop_after(uint64_t bytes, std::function<void()> event);
  bool stopped() const { return stopped_; }
  // Ends all connections, on both sides. From inside `event`, or while it is stopped.
  void cut();
  // Whether or not it has stopped: everything passes again.
  void release();

 private:
  struct Pair;

  void run();
  void accept_one();
  bool relay(int from, int to);
  bool has_room() const { return !stopped_ && counted_ < limit_; }
  void reach_limit();
  void wake() const;

  const uint16_t server_port_;
  PortLease lease_;
  int listener_ = -1;
  int wake_fd_ = -1;
  mutable std::recursive_mutex mutex_;  // guards all below; held by the thread but while it waits
  std::list<Pair> pairs_;
  uint64_t counted_ = 0;
  uint64_t limit_ = UINT64_MAX;
  bool recording_ = false;
  std::vector<uint64_t> pieces_;
  std::function<void()> event_;
  std::atomic<bool> stopped_{false};
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace rsyncfs::support
