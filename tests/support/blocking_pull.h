// SPDX-License-Identifier: GPL-3.0-or-later
// Drives a PullSession over a connected descriptor, waiting for it: what tests need instead of a loop.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sync/rsync/pull_session.h"
#include "tests/support/peer_connection.h"

namespace rsyncfs::support {

// Collects one file in memory; `basis` answers copies.
class MemorySink : public FileSink {
 public:
  explicit MemorySink(std::string basis = {}) : basis_(std::move(basis)) {}
  void begin() override { ++begun; }
  Result<void> literal(uint64_t offset, std::span<const std::byte> data) override;
  Result<std::span<const std::byte>> copy(uint64_t offset, uint64_t basis_offset, uint32_t length) override;
  void done(FileEnd file_end) override;

  std::string data;  // from first_offset on
  uint64_t first_offset = 0;
  std::optional<FileEnd> end;
  uint64_t literal_bytes = 0;
  uint64_t copied_bytes = 0;
  int begun = 0;
  bool gap = false;                // offsets did not ascend without gaps
  std::optional<Error> fail_with;  // what literal() returns

 private:
  void add(uint64_t offset, std::span<const std::byte> bytes);

  std::string basis_;
  bool any_ = false;
};

struct BlockingPullOptions {
  PullLimits limits;
  size_t read_size = 64 * 1024;  // at most so much is given to the session at once
  std::chrono::milliseconds limit = std::chrono::seconds(30);  // of each call below
  std::string* record = nullptr;                               // gets every byte from the server
  // over_pipe(): changes the command line that the server gets, program included.
  std::function<void(std::vector<std::string>&)> edit_arguments;
};

// For edit_arguments: a server told of no 'v' capability and of protocol 31 answers as rsync before 3.2.0.
void without_negotiation(std::vector<std::string>& arguments);

class BlockingPull : public PullEvents {
 public:
  // Connects to 127.0.0.1:port. Throws SetupFailure if that fails.
  static std::unique_ptr<BlockingPull> over_tcp(uint16_t port, PullConfig config,
                                                BlockingPullOptions options = {});
  // Runs `program` with shell_arguments(config) on a socket pair.
  static std::unique_ptr<BlockingPull> over_pipe(const std::string& program, PullConfig config,
                                                 BlockingPullOptions options = {});

  PullSession& session() { return *session_; }
  const FileList& list() const { return session_->list(); }

  // Each pumps until it has its answer, an error, or the limit (Errc::kTimedOut).
  Result<void> pump_until(const std::function<bool()>& condition);
  Result<void> wait_for_list();
  Result<void> wait_for_pages();
  // Whatever comes in this time.
  Result<void> pump_for(std::chrono::milliseconds time);
  // The list's entry for `path` as a whole file, or against `basis`.
  Result<MemorySink> fetch(uint32_t ndx, const std::string& basis = {}, uint32_t block_length = 0);
  Result<MemorySink> fetch(const std::string& path);
  Result<std::vector<std::pair<std::string, std::string>>> fetch_xattrs(uint32_t ndx);
  // Orderly: until the server has closed.
  Result<void> finish();
  // What the session has to say, as far as the connection takes it, without reading anything.
  Result<void> send_some();
  // Half-closes nothing, closes all.
  void close() { connection_->close(); }

  bool established = false;
  bool listed = false;
  std::vector<ListPage> pages;
  bool pages_ended = false;
  bool turn_at_once = true;  // each page lets the server go on
  std::vector<std::pair<MessageKind, std::string>> messages;
  std::map<uint32_t, std::vector<std::pair<std::string, std::string>>> xattrs;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;

 private:
  BlockingPull(PullConfig config, BlockingPullOptions options);
  void on_established() override { established = true; }
  void on_list(const FileList& list) override;
  void on_page(ListPage page) override;
  void on_pages_end() override { pages_ended = true; }
  void on_xattrs(uint32_t ndx, std::vector<std::pair<std::string, std::string>> values) override;
  void on_message(MessageKind kind, std::string_view text) override { messages.emplace_back(kind, text); }
  void attach(std::unique_ptr<PeerConnection> connection);

  BlockingPullOptions options_;
  std::unique_ptr<PullSession> session_;
  std::unique_ptr<PeerConnection> connection_;
};

}  // namespace rsyncfs::support
