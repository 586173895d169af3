// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/ready_connection.h"

#include <utility>

#include "sync/rsync/server_arguments.h"

namespace rsyncfs {

namespace {

SessionConfig make_config(const SyncerOptions& options, const ServerFeatures& features) {
  SessionConfig config;
  apply_settings(options, features, config);
  clean_session_root(config);
  return config;
}

}  // namespace

ReadyConnection::ReadyConnection(Loop& loop, Resolver& resolver, const SyncerOptions& options,
                                 const ServerFeatures& features, std::function<void(const Error&)> over)
    : config_(make_config(options, features)),
      over_(std::move(over)),
      login_(
          config_, SessionLimits().max_text_bytes, [](std::string_view) {}, output_) {
  attempt_ = connect_tcp(loop, resolver, options.tcp, options.connect_timeout,
                         [this](Result<std::unique_ptr<Stream>> stream) { attached(std::move(stream)); });
}

ReadyConnection::~ReadyConnection() = default;

void ReadyConnection::attached(Result<std::unique_ptr<Stream>> stream) {
  if (!stream) return end(stream.error());
  stream_ = std::move(*stream);
  stream_->start(*this);
  stream_->send(output_);
}

void ReadyConnection::on_bytes(std::span<const std::byte> data) {
  input_.append(data);
  const Result<void> advanced = advance();
  if (!advanced) return end(advanced.error());
  stream_->send(output_);
}

Result<void> ReadyConnection::advance() {
  while (!ready_) {
    const auto took = login_.take(input_);
    if (!took) return took.error();
    if (*took == DaemonLogin::Took::kNothing) return {};
    ready_ = *took == DaemonLogin::Took::kOk;
  }
  if (!input_.empty()) return Error(Errc::kProtocol, "the server speaks before it was told what for");
  return {};
}

void ReadyConnection::on_end(Result<void> why) {
  end(why ? Error(Errc::kDisconnected, "the server closed the connection") : why.error());
}

void ReadyConnection::end(const Error& why) {
  ready_ = false;
  if (const auto over = std::exchange(over_, nullptr)) over(why);
}

PreparedStream ReadyConnection::take() {
  RSYNCFS_CHECK(ready_);
  ready_ = false;
  over_ = nullptr;
  return {std::move(stream_), login_.so_far()};
}

SessionStatus ReadyConnection::status() const {
  SessionStatus out;
  out.purpose = "any";
  out.state = !stream_ ? "connecting" : ready_ ? "ready" : "opening";
  out.bytes_in = bytes_in();
  out.bytes_out = bytes_out();
  return out;
}

}  // namespace rsyncfs
