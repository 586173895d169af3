// SPDX-License-Identifier: GPL-3.0-or-later
// Files up to kMaxWholeFileBytes: fetched whole into memory, many at once through pipelined requests, checked
// by their digest before a reader sees a byte, and stored in batches. Their neighbours are brought along when
// a directory is being read through.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sync/engine/file_target.h"
#include "sync/engine/large_files.h"
#include "sync/engine/lister.h"
#include "sync/engine/neighbours.h"
#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"
#include "sync/engine/whole_file.h"
#include "sync/engine/whole_store.h"

namespace rsyncfs {

// Loop thread only.
class WholeFiles final : public SessionUser, public WholeFile::Owner {
 public:
  // `large` takes files that turn out to be too large.
  WholeFiles(const EngineContext& context, SessionPool& pool, Lister& lister, LargeFiles& large,
             FetchTotals& totals);
  ~WholeFiles() override;

  void read(RequestId id, FileTarget target, uint64_t offset, uint32_t length, Done<ReadBytes> done);
  // Fetches without anybody waiting for a part of it; `done` after it is stored.
  void hydrate(RequestId id, FileTarget target, Done<void> done);
  // Any thread, cheap: somebody reads this file, though it is here.
  void note_read(NodeId file) { neighbours_.note_read(file); }
  void pump();
  void expire(Clock::time_point now);
  bool cancel(RequestId id);
  void link_failed(bool hopeless);
  void fail_everything(const Error& why);
  bool waiting() const;
  bool reads_ahead() const { return neighbours_.active(); }
  size_t waiting_count() const;
  void add_transfers(std::vector<TransferStatus>& out) const;

  void session_listed(RemoteSession& session) override;
  void session_drained(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  WholeFilePtr obtain(FileTarget target, bool demanded);
  bool dispatch(const WholeFilePtr& file);
  void open_directory(const WholeFilePtr& file);
  void delivered(WholeFile& file) override;
  void received(const WholeFilePtr& file, FileEnd end) override;
  bool show(const WholeFilePtr& file);
  void recover_lost();
  void drop_ahead(const WholeFilePtr& file);
  void abandon(const WholeFilePtr& file);
  void queue_again(const WholeFilePtr& file);
  void retry(const WholeFilePtr& file, const Error& why);
  void revalidate(const WholeFilePtr& file);
  void hand_over(const WholeFilePtr& file);
  void fail(const WholeFilePtr& file, const Error& why);
  void finished(const WholeFilePtr& file, FileEnd end);
  void stored(const WholeStore::Batch& batch, const Result<void>& result);
  void bring_ahead(std::vector<FileTarget> targets);
  void forget_ahead();

  EngineContext context_;
  SessionPool& pool_;
  Lister& lister_;
  LargeFiles& large_;
  FetchTotals& totals_;
  std::unordered_map<NodeId, WholeFilePtr> files_;                 // from the request until stored
  std::list<WholeFilePtr> demanded_;                               // not requested yet, somebody waits
  std::list<WholeFilePtr> ahead_;                                  // not requested yet, read-ahead
  std::unordered_map<const RemoteSession*, std::string> opening_;  // directory sessions not listed yet
  WholeStore store_;                                               // complete, not recorded yet
  bool pumping_ = false;
  uint64_t sequence_ = 0;
  Clock::time_point last_delivery_{};  // of any of the files
  uint64_t ended_seen_ = 0;            // SessionPool::ended_count() when lost requests were last looked for
  Neighbours neighbours_;
};

}  // namespace rsyncfs
