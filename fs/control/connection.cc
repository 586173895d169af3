// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/connection.h"

#include <sys/socket.h>

#include <utility>

namespace rsyncfs {

// A request under way. The handler owns it; the connection only watches.
class ControlConnection::Reply final : public ControlReply {
 public:
  explicit Reply(std::shared_ptr<ControlConnection> connection) : connection_(std::move(connection)) {}
  ~Reply() override {
    if (connection_)
      finish({.kind = ControlAnswer::Kind::kFailed, .reason = "the daemon gave the request up"});
  }

  void send(const ControlAnswer& answer) override {
    if (!connection_) return;
    const bool progress = answer.kind == ControlAnswer::Kind::kProgress;
    if (connection_->unsent() > (progress ? 0 : ControlServer::kMaxUnsentAnswers)) return;
    connection_->send_line(encode(answer));
  }

  void finish(const ControlAnswer& answer) override {
    if (!connection_) return;
    gone_ = nullptr;
    const std::shared_ptr<ControlConnection> connection = std::move(connection_);
    connection->request_.reset();
    connection->send_line(encode(answer));
    if (connection->closing_) {
      connection->finish_and_close();
    } else {
      connection->watch_idle();
      connection->take_requests();
    }
  }

  void on_gone(Task task) override {
    if (connection_) gone_ = std::move(task);
  }

  void client_gone() {
    connection_.reset();
    if (Task task = std::exchange(gone_, nullptr)) task();
  }

 private:
  std::shared_ptr<ControlConnection> connection_;
  Task gone_;
};

void ControlConnection::start() {
  watch_idle();
  receive();
}

void ControlConnection::receive() {
  loop_.recv(fd_.get(), buffer_,
             [self = shared_from_this()](const Result<size_t>& count) { self->on_received(count); });
}

// Receiving goes on while a request is under way: that is how a client that goes is noticed.
void ControlConnection::on_received(const Result<size_t>& count) {
  if (!open_) return;
  if (!count || *count == 0) return close();
  for (const std::byte byte : std::span(buffer_).first(*count)) input_ += static_cast<char>(byte);
  if (input_.size() > kMaxControlLine) return close();
  take_requests();
  if (open_) receive();
}

void ControlConnection::take_requests() {
  if (taking_) return;  // an answer that came at once: the loop below goes on
  taking_ = true;
  while (open_ && !closing_ && request_.expired() && unsent() <= ControlServer::kMaxUnsentAnswers) {
    const size_t end = input_.find('\n');
    if (end == std::string::npos) break;
    const std::string line = input_.substr(0, end);
    input_.erase(0, end + 1);
    begin(line);
  }
  taking_ = false;
}

void ControlConnection::begin(std::string_view line) {
  auto reply = std::make_shared<Reply>(shared_from_this());
  request_ = reply;
  Result<ControlRequest> request = decode_control_request(line);
  if (request) {
    handler_.handle(std::move(request.value()), std::move(reply));
  } else {
    reply->finish({.kind = ControlAnswer::Kind::kFailed,
                   .reason = request.error().message(),
                   .failure = ControlFailure::kUsage});
  }
}

void ControlConnection::send_line(std::string line) {
  if (!open_) return;
  line += '\n';
  queued_ += line;
  send_more();
}

void ControlConnection::send_more() {
  if (send_under_way_ || !open_) return;
  if (sent_ == sending_.size()) {
    sending_ = std::exchange(queued_, {});
    sent_ = 0;
    if (sending_.empty()) {
      if (closing_ && request_.expired()) close();
      return;
    }
  }
  const iovec piece{sending_.data() + sent_, sending_.size() - sent_};
  send_under_way_ = true;
  loop_.send(fd_.get(), std::span(&piece, 1),
             [self = shared_from_this()](const Result<size_t>& n) { self->on_sent(n); });
}

void ControlConnection::on_sent(const Result<size_t>& count) {
  send_under_way_ = false;
  if (!open_) return;
  if (!count) return close();
  sent_ += *count;
  send_more();
  take_requests();
}

// A client that asks nothing does not keep one of the few connections.
void ControlConnection::watch_idle() {
  idle_since_ = Clock::now();
  if (watched_) return;
  watched_ = true;
  wake_to_watch(ControlServer::kIdleLimit);
}

void ControlConnection::wake_to_watch(std::chrono::nanoseconds after) {
  loop_.run_after(after, [weak = weak_from_this()] {
    const std::shared_ptr<ControlConnection> self = weak.lock();
    if (!self || !self->open_) return;
    const auto idle = Clock::now() - self->idle_since_;
    if (!self->request_.expired()) {
      self->watched_ = false;  // its end begins the next watch
    } else if (idle >= ControlServer::kIdleLimit) {
      self->close();
    } else {
      self->wake_to_watch(ControlServer::kIdleLimit - idle);
    }
  });
}

void ControlConnection::finish_and_close() {
  closing_ = true;
  send_more();
}

void ControlConnection::close() {
  if (!open_) return;
  const std::shared_ptr<ControlConnection> self = shared_from_this();
  open_ = false;
  // Ends what the loop still does with the descriptor, which is closed with this object, after that.
  shutdown(fd_.get(), SHUT_RDWR);
  if (const std::shared_ptr<Reply> request = request_.lock()) request->client_gone();
  if (closed_) std::exchange(closed_, nullptr)(this);
}

}  // namespace rsyncfs
