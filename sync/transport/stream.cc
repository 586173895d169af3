// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/transport/stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "io/base/buffer_pool.h"

namespace rsyncfs {

namespace {
// Of one system call; more wait for the next.
constexpr size_t kMaxParts = 256;
// What a connection that was limited begins with when it is not any more.
constexpr uint32_t kFreedReceiveBytes = 128 * 1024;
constexpr size_t kAny = std::numeric_limits<size_t>::max();

// Buffers that no recv is using, for the next one: sessions come and go, and one that is paused needs none.
constexpr size_t kIdleReceiveBytes = 1 << 20;
BufferPool& receive_buffers() {
  static BufferPool pool(kIdleReceiveBytes);
  return pool;
}
}  // namespace

// Shared with the operations under way: buffers and descriptors live until the last completion.
struct Stream::State : std::enable_shared_from_this<Stream::State> {
  State(Loop& l, int i, int o, std::unique_ptr<Peer> p) : loop(l), in(i), out(o), peer(std::move(p)) {}
  ~State() {
    ::close(in);
    if (out != in) ::close(out);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void read() {
    if (handler == nullptr || paused || ended || receiving != 0 || turn_in != 0) return;
    if (limit == nullptr) return read_now(kStreamReadBytes);
    // A turn is for who has something to read.
    receiving = loop.poll_readable(in, [self = shared_from_this()](const Result<size_t>& polled) {
      self->receiving = 0;
      if (self->handler == nullptr || self->ended) return;
      polled ? self->read_in_turn() : self->received(polled.error());
    });
  }

  void read_in_turn() {
    if (paused) return;
    if (const auto now = limit->in.take(kStreamReadBytes)) return read_now(*now);
    turn_in = limit->in.wait(urgency, kStreamReadBytes, [this](size_t bytes) {
      turn_in = 0;
      if (paused || ended) return limit->in.give_back(bytes);
      read_now(bytes);
    });
  }

  void read_now(size_t most) {
    if (!buffer.owner) buffer = receive_buffers().get(kStreamReadBytes);
    const auto into = buffer.bytes.first(std::min(most, buffer.bytes.size()));
    receiving = loop.recv(in, into, [self = shared_from_this(), most](Result<size_t> got) {
      if (self->limit != nullptr && self->handler != nullptr)
        self->limit->in.give_back(most - (got ? *got : 0));
      self->received(std::move(got));
    });
  }

  void received(Result<size_t> got) {
    receiving = 0;
    if (handler == nullptr || ended) return;
    if (!got) {
      end(got.error());
      return;
    }
    if (*got == 0) {
      end({});
      return;
    }
    bytes_in += *got;
    last_received = Clock::now();
    handler->on_bytes(buffer.bytes.first(*got));
    read();
    if (receiving == 0 || limit != nullptr) buffer = {};
  }

  void write() {
    if (sending != 0 || ended || turn_out != 0) return;
    if (outgoing.empty()) {
      if (queued.empty()) return;
      std::swap(outgoing, queued);
    }
    if (limit == nullptr) return write_now(kAny);
    if (const auto now = limit->out.take(outgoing.size())) return write_now(*now);
    turn_out = limit->out.wait(urgency, outgoing.size(), [this](size_t bytes) {
      turn_out = 0;
      if (ended) return limit->out.give_back(bytes);
      write_now(bytes);
    });
  }

  void write_now(size_t most) {
    std::array<iovec, kMaxParts> parts;
    size_t count = outgoing.gather(parts);
    size_t bytes = 0;
    for (size_t i = 0; i < count && most != kAny; ++i) {
      parts[i].iov_len = std::min(parts[i].iov_len, most - bytes);
      bytes += parts[i].iov_len;
      if (bytes == most) count = i + 1;
    }
    sending =
        loop.send(out, std::span(parts).first(count), [self = shared_from_this(), most](Result<size_t> sent) {
          if (self->limit != nullptr && self->handler != nullptr)
            self->limit->out.give_back(most - (sent ? *sent : 0));
          self->sent(std::move(sent));
        });
  }

  void sent(Result<size_t> count) {
    sending = 0;
    if (handler == nullptr || ended) return;
    if (!count) {
      // The peer may have said why before it closed: leave the word to the reading side, unless that is
      // paused.
      if (paused) end(count.error());
      return;
    }
    bytes_out += *count;
    outgoing.consume(*count);
    write();
    handler->on_sent();
  }

  void end(Result<void> why) {
    ended = true;
    const auto tell = [](State& self, Result<void> how) {
      if (self.handler != nullptr) self.handler->on_end(std::move(how));
    };
    if (!peer) return tell(*this, std::move(why));
    peer->settle(
        [self = shared_from_this(), tell, why = std::move(why)]() mutable { tell(*self, std::move(why)); });
  }

  void set_unread(uint32_t bytes) const {
    // Best effort: a pipe has no window.
    const auto size = static_cast<int>(bytes != 0 ? bytes : kFreedReceiveBytes);
    (void)::setsockopt(in, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bytes != 0) return;
    const int locks = 0;  // the kernel adapts it again (Linux 5.14)
    (void)::setsockopt(in, SOL_SOCKET, SO_BUF_LOCK, &locks, sizeof locks);
  }

  Loop& loop;
  const int in;
  const int out;
  std::unique_ptr<Peer> peer;
  Handler* handler = nullptr;
  BufferPool::Buffer buffer;  // while something is received
  OutputQueue queued;         // not given to the loop yet
  OutputQueue outgoing;       // the loop is sending from here: not to be touched
  OpId receiving = 0;
  OpId sending = 0;
  BandwidthLimit* limit = nullptr;  // not to be used once there is no handler
  Urgency urgency = Urgency::kReadMiss;
  TokenBucket::Ticket turn_in = 0;
  TokenBucket::Ticket turn_out = 0;
  uint32_t unread_most = 0;
  bool paused = false;
  bool ended = false;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  Clock::time_point last_received = Clock::now();
};

Stream::Stream(Loop& loop, int in, int out, std::unique_ptr<Peer> peer)
    : state_(std::make_shared<State>(loop, in, out, std::move(peer))) {}

Stream::~Stream() {
  state_->handler = nullptr;
  state_->peer.reset();
  if (state_->limit != nullptr) {
    state_->limit->in.cancel(state_->turn_in);
    state_->limit->out.cancel(state_->turn_out);
  }
  if (state_->receiving != 0) state_->loop.cancel(state_->receiving);
  if (state_->sending != 0) state_->loop.cancel(state_->sending);
}

void Stream::start(Handler& handler) {
  state_->handler = &handler;
  state_->read();
  state_->write();
}

void Stream::send(ByteQueue& data) {
  if (data.empty()) return;
  state_->queued.append(data);
  if (state_->handler != nullptr) state_->write();
}

void Stream::send(OutputQueue& data) {
  if (data.empty()) return;
  state_->queued.append(data);
  if (state_->handler != nullptr) state_->write();
}

void Stream::set_paused(bool paused) {
  if (state_->paused == paused) return;
  state_->paused = paused;
  if (!paused) state_->read();
}

void Stream::limit_unread(uint32_t bytes) {
  const uint32_t most = state_->unread_most;
  state_->set_unread(bytes == 0 || most == 0 ? std::max(bytes, most) : std::min(bytes, most));
}

void Stream::keep_unread_below(uint32_t bytes) {
  state_->unread_most = bytes;
}

void Stream::pace(BandwidthLimit* limit, Urgency urgency) {
  state_->limit = limit;
  state_->urgency = urgency;
}

void Stream::set_urgency(Urgency urgency) {
  if (std::exchange(state_->urgency, urgency) == urgency || state_->limit == nullptr) return;
  state_->limit->in.set_urgency(state_->turn_in, urgency);
  state_->limit->out.set_urgency(state_->turn_out, urgency);
}

bool Stream::held_back() const {
  return state_->turn_in != 0 || state_->turn_out != 0;
}

size_t Stream::unsent() const {
  return state_->queued.size() + state_->outgoing.size();
}
uint64_t Stream::bytes_in() const {
  return state_->bytes_in;
}
uint64_t Stream::bytes_out() const {
  return state_->bytes_out;
}
Clock::time_point Stream::last_received() const {
  return state_->last_received;
}
std::string Stream::last_words() const {
  return state_->peer ? state_->peer->last_words() : std::string();
}

}  // namespace rsyncfs
