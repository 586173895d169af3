// SPDX-License-Identifier: GPL-3.0-or-later
// A duplex byte stream over the Loop: a TCP connection, or the standard input and output of a child process.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "io/base/byte_queue.h"
#include "io/base/output_queue.h"
#include "io/base/result.h"
#include "io/loop.h"
#include "sync/transport/bandwidth_limit.h"

namespace rsyncfs {

// Received bytes are handed over in pieces of at most this size.
constexpr size_t kStreamReadBytes = 256 * 1024;

// Loop thread only.
class Stream {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // The stream may be destroyed from inside any of these.
    virtual void on_bytes(std::span<const std::byte> data) = 0;
    // Some of what was queued has gone: unsent() is less than it was.
    virtual void on_sent() {}
    // At most once, last: ok = the peer closed; otherwise why the stream broke.
    virtual void on_end(Result<void> why) = 0;
  };
  // What stands behind the descriptors, told of the end (a child process is reaped by its owner).
  class Peer {
   public:
    virtual ~Peer() = default;
    // More about an unexpected end, for the error message: what ssh printed. May be "".
    virtual std::string last_words() { return {}; }
    // Called once, when the stream has ended: `done` follows when last_words() is whole, or soon anyway.
    virtual void settle(UniqueFunction<void()> done) { done(); }
  };

  // Takes the descriptors (they may be the same one) and the peer.
  Stream(Loop& loop, int in, int out, std::unique_ptr<Peer> peer);
  // Cancels what is under way; the handler is not called any more.
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Begins to read. `handler` must outlive the stream.
  void start(Handler& handler);
  // Queues everything in `data` (and empties it).
  void send(ByteQueue& data);
  void send(OutputQueue& data);
  // Stops (and takes up again) reading: back-pressure.
  void set_paused(bool paused);

  // About so much the peer may send before it was read, as far as the transport can be told (socket(7),
  // SO_RCVBUF); 0: as much as ever, see keep_unread_below(), from now on.
  void limit_unread(uint32_t bytes);
  // The most that limit_unread() ever lets be; 0: as the kernel finds right.
  void keep_unread_below(uint32_t bytes);

  // Before start(): moves no more bytes than `limit`, which must outlive the stream, lets it. Null: as fast
  // as they come.
  void pace(BandwidthLimit* limit, Urgency urgency);
  void set_urgency(Urgency urgency);
  // Bytes wait for nothing but their turn: if they do not move it is not the peer's fault.
  bool held_back() const;

  size_t unsent() const;
  uint64_t bytes_in() const;
  uint64_t bytes_out() const;
  Clock::time_point last_received() const;
  std::string last_words() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace rsyncfs
