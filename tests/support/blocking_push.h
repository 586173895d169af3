// SPDX-License-Identifier: GPL-3.0-or-later
// Drives a PushSession over a connected descriptor, waiting for it: what tests need instead of a loop.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sync/rsync/push_session.h"
#include "tests/support/peer_connection.h"

namespace rsyncfs::support {

struct BlockingPushOptions {
  PushLimits limits;
  size_t read_size = 64 * 1024;  // at most so much is given to the session at once
  std::chrono::milliseconds limit = std::chrono::seconds(30);  // of each call below
  // over_pipe(): changes the command line that the server gets, program included.
  std::function<void(std::vector<std::string>&)> edit_arguments;
};

class BlockingPush : public PushEvents {
 public:
  // Connects to 127.0.0.1:port. Throws SetupFailure if that fails.
  static std::unique_ptr<BlockingPush> over_tcp(uint16_t port, PushConfig config,
                                                BlockingPushOptions options = {});
  // Runs `program` with shell_arguments(config) on a socket pair.
  static std::unique_ptr<BlockingPush> over_pipe(const std::string& program, PushConfig config,
                                                 BlockingPushOptions options = {});

  PushSession& session() { return *session_; }
  // Gets every request; without it those with contents[index] are answered, whole or against `bases`, and the
  // others declined.
  std::function<void(const PushRequest&)> answer;
  std::map<size_t, std::string> contents;

  // Each pumps until it has its answer, an error, or the limit (Errc::kTimedOut).
  Result<void> pump_until(const std::function<bool()>& condition);
  Result<void> wait_until_established();
  // Until the server has closed in order.
  Result<void> finish();
  // As one literal; with its digest.
  void send_whole(size_t index, std::string_view data);
  ChecksumValue digest_of(std::string_view data);
  void close() { connection_->close(); }

  bool established = false;
  bool finished = false;
  std::vector<PushRequest> requests;
  std::vector<size_t> succeeded;
  std::map<size_t, uint16_t> declined;
  std::map<size_t, std::pair<uint16_t, std::string>> items;
  std::vector<std::pair<std::string, bool>> deleted;
  std::vector<std::pair<MessageKind, std::string>> messages;
  // How much of that was said of entries, but for requests; and how much by on_list_done().
  size_t said() const { return succeeded.size() + declined.size() + items.size() + deleted.size(); }
  std::optional<size_t> said_with_list;
  // All errors and warnings.
  std::string complaints() const;
  uint64_t bytes_received() const { return connection_->bytes_received; }
  uint64_t bytes_sent() const { return connection_->bytes_sent; }

 private:
  BlockingPush(PushConfig config, BlockingPushOptions options);
  void attach(std::unique_ptr<PeerConnection> connection);
  void on_established() override { established = true; }
  void on_request(PushRequest request) override;
  void on_declined(size_t index, uint16_t iflags) override { declined[index] = iflags; }
  void on_item(size_t index, uint16_t iflags, std::string_view xname) override {
    items[index] = {iflags, std::string(xname)};
  }
  void on_success(size_t index) override { succeeded.push_back(index); }
  void on_deleted(std::string_view path, bool directory) override { deleted.emplace_back(path, directory); }
  void on_message(MessageKind kind, std::string_view text) override { messages.emplace_back(kind, text); }
  void on_list_done() override { said_with_list = said(); }
  void on_finished() override;

  BlockingPushOptions options_;
  std::unique_ptr<PushSession> session_;
  std::unique_ptr<PeerConnection> connection_;
};

}  // namespace rsyncfs::support
