// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/blocking_push.h"

namespace rsyncfs::support {

BlockingPush::BlockingPush(PushConfig config, BlockingPushOptions options) : options_(std::move(options)) {
  session_ = std::make_unique<PushSession>(std::move(config), *this, options_.limits);
}

void BlockingPush::attach(std::unique_ptr<PeerConnection> connection) {
  connection_ = std::move(connection);
  connection_->read_size = options_.read_size;
}

std::unique_ptr<BlockingPush> BlockingPush::over_tcp(uint16_t port, PushConfig config,
                                                     BlockingPushOptions options) {
  std::unique_ptr<BlockingPush> push(new BlockingPush(std::move(config), std::move(options)));
  push->attach(PeerConnection::over_tcp(port));
  return push;
}

std::unique_ptr<BlockingPush> BlockingPush::over_pipe(const std::string& program, PushConfig config,
                                                      BlockingPushOptions options) {
  config.peer = PeerKind::kShell;
  std::vector<std::string> argv = {program};
  for (std::string& argument : shell_arguments(config)) argv.push_back(std::move(argument));
  if (options.edit_arguments) options.edit_arguments(argv);
  std::unique_ptr<BlockingPush> push(new BlockingPush(std::move(config), std::move(options)));
  push->attach(PeerConnection::over_pipe(argv));
  return push;
}

void BlockingPush::on_request(PushRequest request) {
  requests.push_back(std::move(request));
  const PushRequest& latest = requests.back();
  if (answer) return answer(latest);
  const auto data = contents.find(latest.index);
  if (data == contents.end()) return session_->decline(latest.index);
  send_whole(latest.index, data->second);
}

void BlockingPush::on_finished() {
  RSYNCFS_CHECK(!finished);
  finished = true;
}

ChecksumValue BlockingPush::digest_of(std::string_view data) {
  Digest digest(session_->checksum());
  digest.update(std::as_bytes(std::span(data)));
  return digest.finish();
}

void BlockingPush::send_whole(size_t index, std::string_view data) {
  session_->begin_file(index, SumHead());
  session_->literal(std::as_bytes(std::span(data)));
  session_->end_file(digest_of(data));
}

Result<void> BlockingPush::pump_until(const std::function<bool()>& condition) {
  const SessionCalls calls{
      .output = [this]() -> ByteQueue& { return session_->output().tail(); },
      .receive = [this](std::span<const std::byte> data) { return session_->receive(data); },
      .end_of_input = [this] { return session_->end_of_input(); },
  };
  return connection_->pump_until(calls, condition, options_.limit);
}

Result<void> BlockingPush::wait_until_established() {
  return pump_until([this] { return established; });
}

Result<void> BlockingPush::finish() {
  auto pumped = pump_until([this] { return connection_->at_end(); });
  if (!pumped.ok()) return pumped;
  if (!finished || session_->state() != PushState::kEnded)
    return Error(Errc::kProtocol, "the session did not end in order");
  return {};
}

std::string BlockingPush::complaints() const {
  std::string all;
  for (const auto& [kind, text] : messages) {
    if (kind == MessageKind::kError || kind == MessageKind::kWarning) all += text + "\n";
  }
  return all;
}

}  // namespace rsyncfs::support
