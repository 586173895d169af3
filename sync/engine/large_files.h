// SPDX-License-Identifier: GPL-3.0-or-later
// Files above kMaxWholeFileBytes: streamed from where they are read, each stream on a session of its own.
// Readers get bytes as they land; a stream runs ahead of its readers, is parked when they fall behind, and is
// closed when it is no longer needed. A stream from the middle is an `--append` session.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "sync/engine/large_file.h"
#include "sync/engine/lister.h"

namespace rsyncfs {

// Loop thread only.
class LargeFiles final : public SessionUser, public FileStream::Owner, public DeltaFetch::Owner {
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
  bool has(NodeId node) const { return files_.contains(node); }
  size_t waiting_count() const;
  void add_transfers(std::vector<TransferStatus>& out) const;

  void session_listed(RemoteSession& session) override;
  void session_drained(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  static constexpr unsigned kMaxAttempts = 3;

  LargeFilePtr obtain(FileTarget target);
  void load(const LargeFilePtr& file);
  void serve(const LargeFilePtr& file);
  void start_streams(const LargeFilePtr& file);
  bool begin_stream(const LargeFilePtr& file, const LargeFile::Start& start, Clock::time_point now);
  std::shared_ptr<RemoteSession> open_stream(const LargeFilePtr& file, const LargeFile::Start& start,
                                             Clock::time_point now);
  void note_seek(const LargeFilePtr& file, Clock::time_point now);
  void close_passed_probes(const LargeFilePtr& file);
  bool stop_stream_for(const LargeFilePtr& wanting, Clock::time_point since, Clock::time_point now);
  void close_streams(const LargeFilePtr& file, const char* why);
  void revalidate(const LargeFilePtr& file);
  void renew(const LargeFilePtr& file);
  void relist(const LargeFilePtr& file, LargeFile::State why);
  void take_version(const LargeFilePtr& file, FileTarget now);
  void stream_bytes(const LargeFilePtr& file, uint64_t offset, SharedBytes bytes) override;
  void landed(const LargeFilePtr& file, uint64_t begin, uint64_t end, const Result<ExtentSet>& gone);
  void stream_done(const LargeFilePtr& file, FileStream& sink, FileEnd end) override;
  void start_delta(const LargeFilePtr& file, std::shared_ptr<const Content> basis);
  void delta_progress(DeltaFetch& delta) override;
  void delta_done(DeltaFetch& delta, Result<DeltaResult> result) override;
  void drop_delta(const LargeFilePtr& file);
  bool waits_for_delta(const LargeFilePtr& file);
  void restart(const LargeFilePtr& file);
  void pass_through(const LargeFilePtr& file, const Error& why);
  void begin_again(const LargeFilePtr& file, const Error& why, std::optional<Error> passing);
  void give(const LargeFilePtr& file, LargeFile::Reader reader);
  Result<ExtentSet> put(const LargeFile& file, uint64_t offset, const SharedBytes& shared) const;
  void complete(const LargeFilePtr& file);
  void store(const LargeFilePtr& file);
  void adjust_parking(const LargeFilePtr& file);
  void fail(const LargeFilePtr& file, const Error& why);
  void retire(const LargeFilePtr& file);
  void retire_idle();
  LargeFilePtr owner(const RemoteSession& session, FileStream** sink);

  EngineContext context_;
  SessionPool& pool_;
  Lister& lister_;
  FetchTotals& totals_;
  std::unordered_map<NodeId, LargeFilePtr> files_;
  Clock::time_point last_landing_{};  // of any of the files
};

}  // namespace rsyncfs
