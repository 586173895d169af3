// SPDX-License-Identifier: GPL-3.0-or-later
// Whether the source has the bytes that are here. Block sums are sent and the source answers with the numbers
// of the blocks, so a file that is equal costs some bytes for each 128 KiB; what decides is the digest of the
// whole, which the source computes of what it has read.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "sync/engine/compared_file.h"
#include "sync/engine/lister.h"
#include "sync/engine/session_pool.h"

namespace rsyncfs {

// The sums of larger ones would take too much memory.
constexpr uint64_t kMaxComparedBytes = uint64_t{64} << 30;

// Loop thread only. Small files go over sessions that list them anyway, between the requests of readers; the
// others over a session of their own, for a batch of files.
class SourceComparison final : public SessionUser, public ComparedFile::Owner {
 public:
  SourceComparison(const EngineContext& context, SessionPool& pool, Lister& lister);
  ~SourceComparison() override;

  // `content`: complete, of the target's version.
  void compare(RequestId id, FileTarget target, std::shared_ptr<const Content> content,
               Done<Comparison> done);
  void pump();
  void expire(Clock::time_point now);
  bool cancel(RequestId id);
  void link_failed(bool hopeless);
  void fail_everything(const Error& why);
  bool waiting() const { return !files_.empty(); }
  size_t waiting_count() const { return files_.size(); }

  void session_listed(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  void refuted(ComparedFile& file) override;
  void answered(ComparedFile& file, FileEnd end) override;

  void begin_files();
  // False: it stays in the queue.
  bool begin(const ComparedFilePtr& file);
  bool is_listed_elsewhere(const ComparedFilePtr& file) const;
  void open_session();
  void make_sums(const ComparedFilePtr& file, std::shared_ptr<RemoteSession> session, uint32_t ndx);
  void sum_more();
  void summed(size_t ready);
  void request(const ComparedFilePtr& file);
  void judge(const ComparedFilePtr& file);
  bool is_as_before(const ComparedFile& file) const;
  void recover_lost();
  void queue_again(const ComparedFilePtr& file);
  void finish(const ComparedFilePtr& file, Result<Comparison> result);

  EngineContext context_;
  SessionPool& pool_;
  Lister& lister_;
  std::map<RequestId, ComparedFilePtr> files_;  // until they are answered
  std::list<ComparedFilePtr> queued_;           // of these
  std::vector<ComparedFilePtr> lingering_;      // answered, but a session still speaks to them
  std::shared_ptr<RemoteSession> session_;      // our own
  std::vector<ComparedFilePtr> summing_;        // on the executor, one after the other
  uint64_t sequence_ = 0;
  uint64_t ended_seen_ = 0;  // SessionPool::ended_count() when lost requests were last looked for
  Clock::time_point last_progress_{};
  bool pumping_ = false;
  bool closing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
