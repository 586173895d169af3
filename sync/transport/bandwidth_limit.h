// SPDX-License-Identifier: GPL-3.0-or-later
// How fast the streams of one source may move bytes together: a token bucket (Turner, "New directions in
// communications", 1986) for each direction, out of which who is waited for the most is served first.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>

#include "io/base/unique_function.h"
#include "io/loop.h"

namespace rsyncfs {

// What a stream is there for, the most urgent first.
enum class Urgency : uint8_t { kReadMiss, kPush, kPoll, kReadAhead };

// One direction. Loop thread only.
class TokenBucket {
 public:
  using Ticket = uint64_t;  // of one who waits; never reused; 0 is none

  // What was not used for so long may be used at once.
  static constexpr std::chrono::milliseconds kBurstTime{100};
  static constexpr uint64_t kLeastBurstBytes = 4 * 1024;
  // Of a burst, for one turn: so long the most urgent waits for another one's.
  static constexpr uint64_t kTurnsInBurst = 4;
  static constexpr uint64_t kMostTurnBytes = 64 * 1024;
  // Every so-manieth turn goes to who has waited the longest, however urgent the others are.
  static constexpr unsigned kTurnsOfTheUrgent = 8;

  TokenBucket(Loop& loop, uint64_t bytes_per_second);
  ~TokenBucket();
  TokenBucket(const TokenBucket&) = delete;
  TokenBucket& operator=(const TokenBucket&) = delete;

  // How many of `wanted` bytes may be moved now; nullopt: one has to wait().
  std::optional<size_t> take(size_t wanted);
  // `go` is called once, with at least 1 and at most `wanted`, never from inside this call.
  Ticket wait(Urgency urgency, size_t wanted, UniqueFunction<void(size_t)> go);
  // Who waits became more or less urgent.
  void set_urgency(Ticket ticket, Urgency urgency);
  void cancel(Ticket ticket);  // unknown ones are ignored
  // Of what was given, so many were not moved.
  void give_back(size_t bytes) { level_ += static_cast<double>(bytes); }

  size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    Ticket ticket;
    Urgency urgency;
    size_t wanted;
    UniqueFunction<void(size_t)> go;
  };
  size_t turn_of(size_t wanted) const;
  void fill();
  void serve();
  void serve_later();
  std::list<Waiting>::iterator next();

  Loop& loop_;
  const double bytes_per_second_;
  const double burst_;
  const size_t turn_;
  double level_;  // bytes
  Clock::time_point filled_at_;
  std::list<Waiting> waiting_;  // the longest first
  unsigned turns_ = 0;          // since the last that was not for its urgency
  Ticket last_ticket_ = 0;
  TimerId timer_ = 0;
};

class BandwidthLimit {
 public:
  BandwidthLimit(Loop& loop, uint64_t bytes_per_second)
      : in(loop, bytes_per_second), out(loop, bytes_per_second) {}
  TokenBucket in;
  TokenBucket out;
};

// How much a peer may send before it was read, so that the wire, too, is as fast as it is to be (socket(7),
// SO_RCVBUF); 0: no matter, the kernel's own choice is not more.
uint32_t unread_bytes_at(uint64_t bytes_per_second);

}  // namespace rsyncfs
