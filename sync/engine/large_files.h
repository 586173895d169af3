// SPDX-License-Identifier: GPL-3.0-or-later
// Files above kMaxWholeFileBytes: streamed from where they are read, each stream on a session of its own.
// Readers get bytes as they land; a stream runs ahead of its readers, is parked when they fall behind, and is
// closed when it is no longer needed. A stream from the middle is an `--append` session.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sync/engine/whole_files.h"

namespace rsyncfs {

// Loop thread only.
class LargeFiles final : public SessionUser {
 public:
  LargeFiles(const EngineContext& context, SessionPool& pool, Lister& lister, FetchTotals& totals);
  ~LargeFiles() override;

  void read(RequestId id, FileTarget target, uint64_t offset, uint32_t length, Done<ReadBytes> done);
  void hydrate(RequestId id, FileTarget target, Done<void> done);
  void pump();
  void tick(Clock::time_point now);  // deadlines, parked streams that nobody came back to
  bool cancel(RequestId id);
  void link_failed(bool hopeless);
  void fail_everything(const Error& why);  // records what has landed
  bool waiting() const;
  bool active() const { return !files_.empty(); }
  size_t waiting_count() const;
  void add_transfers(std::vector<TransferStatus>& out) const;

  void session_listed(RemoteSession& session) override;
  void session_drained(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  class File;
  class StreamSink;
  using FilePtr = std::shared_ptr<File>;

  FilePtr obtain(FileTarget target);
  void load(const FilePtr& file);
  void serve(const FilePtr& file);
  void start_streams(const FilePtr& file);
  bool begin_stream(const FilePtr& file, uint64_t offset);
  void write(const FilePtr& file, uint64_t offset, std::shared_ptr<std::vector<std::byte>> bytes);
  void landed(const FilePtr& file, uint64_t begin, uint64_t end, const Result<void>& result);
  void stream_done(const FilePtr& file, StreamSink& sink, FileEnd end);
  void restart(const FilePtr& file);
  void complete(const FilePtr& file);
  void adjust_parking(const FilePtr& file);
  void fail(const FilePtr& file, const Error& why);
  void retire(const FilePtr& file);
  FilePtr owner(const RemoteSession& session, StreamSink** sink);

  EngineContext context_;
  SessionPool& pool_;
  Lister& lister_;
  FetchTotals& totals_;
  std::unordered_map<NodeId, FilePtr> files_;
};

}  // namespace rsyncfs
