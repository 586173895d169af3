// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/control/metrics_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace rsyncfs {
namespace {

constexpr std::string_view kPlain = "text/plain; charset=utf-8";
constexpr std::string_view kMetrics = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

void MetricsConnection::start() {
  limit_ = loop_.run_after(MetricsServer::kLimit, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->limit_ = 0;
    self->close();
  });
  receive();
}

void MetricsConnection::receive() {
  loop_.recv(fd_.get(), buffer_,
             [self = shared_from_this()](const Result<size_t>& count) { self->on_received(count); });
}

void MetricsConnection::on_received(const Result<size_t>& count) {
  if (!open_) return;
  if (!count || *count == 0) return close();
  for (const std::byte byte : std::span(buffer_).first(*count)) input_ += static_cast<char>(byte);
  const size_t end = std::min(input_.find("\r\n\r\n"), input_.find("\n\n"));
  if (end != std::string::npos) return answer(parse_http_request(std::string_view(input_).substr(0, end)));
  if (input_.size() > MetricsServer::kMaxRequest) return answer({.refusal = 431});
  receive();
}

void MetricsConnection::answer(const HttpRequest& request) {
  input_.clear();
  if (request.refusal != 0) {
    const std::string body = std::string(http_reason(request.refusal)) + "; the page is /metrics\n";
    return send(http_answer(request.refusal, kPlain, body, request.head_only));
  }
  ask_([self = shared_from_this(), head_only = request.head_only](const Result<std::string>& page) {
    if (!self->open_) return;
    if (!page) return self->send(http_answer(503, kPlain, page.error().message() + "\n", head_only));
    self->send(http_answer(200, kMetrics, *page, head_only));
  });
}

void MetricsConnection::send(std::string answer) {
  sending_ = std::move(answer);
  send_more();
}

void MetricsConnection::send_more() {
  if (sent_ == sending_.size()) return drain();
  const iovec piece{sending_.data() + sent_, sending_.size() - sent_};
  loop_.send(fd_.get(), std::span(&piece, 1), [self = shared_from_this()](const Result<size_t>& count) {
    if (!self->open_) return;
    if (!count) return self->close();
    self->sent_ += *count;
    self->send_more();
  });
}

// A close with bytes of the request unread would take the answer away again (RFC 9112, 9.6).
void MetricsConnection::drain() {
  shutdown(fd_.get(), SHUT_WR);
  loop_.recv(fd_.get(), buffer_, [self = shared_from_this()](const Result<size_t>& count) {
    if (!self->open_) return;
    self->drained_ += count ? *count : 0;
    if (!count || *count == 0 || self->drained_ > MetricsServer::kMaxRequest) return self->close();
    self->drain();
  });
}

void MetricsConnection::close() {
  if (!open_) return;
  const auto self = shared_from_this();
  open_ = false;
  if (limit_ != 0) loop_.cancel_timer(std::exchange(limit_, 0));
  // Ends what the loop still does with the descriptor, which is closed with this object, after that.
  shutdown(fd_.get(), SHUT_RDWR);
  if (closed_) std::exchange(closed_, nullptr)(this);
}

}  // namespace rsyncfs
