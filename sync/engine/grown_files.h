// SPDX-License-Identifier: GPL-3.0-or-later
// Files that the source lists as longer than before: where all that is here proves to be the beginning of the
// new version, the node goes on, so that whoever has it open sees what was added. Otherwise the version gets
// a node of its own, like any other.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sync/engine/delta_fetch.h"
#include "sync/engine/list_ingest.h"
#include "sync/engine/lister.h"
#include "sync/engine/push_fences.h"
#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Loop thread, but for may_hold().
class GrownFiles final : public DeltaFetch::Owner {
 public:
  GrownFiles(const EngineContext& context, SessionPool& pool, Lister& lister, const PushFences& fences);
  ~GrownFiles() override;

  // Any thread: a file nobody has open may as well be replaced.
  bool may_hold(NodeId node) const;
  void listed(std::vector<ListedGrowth> growths);
  void pump();
  void tick(Clock::time_point now);
  void fail_everything();
  bool waiting() const { return !files_.empty(); }

 private:
  // More are replaced at once.
  static constexpr size_t kMaxHeld = 64;
  struct File {
    ListedGrowth held;
    Clock::time_point since;
    DeltaFetchPtr delta;
    bool applied = false;  // the version is shown, as another node: `successor`
    NodeId successor = 0;
    std::optional<ListedGrowth> next;  // what was listed meanwhile
  };
  using FilePtr = std::shared_ptr<File>;

  void delta_progress(DeltaFetch& /*delta*/) override {}
  void delta_refuted(DeltaFetch& delta) override;
  void delta_done(DeltaFetch& delta, Result<DeltaResult> result) override;
  void begin(ListedGrowth growth);
  FilePtr owner(const DeltaFetch& delta) const;
  void add_bytes(const FilePtr& file, DeltaResult result);
  void tell_end(const FilePtr& file, const FileVersion& version);
  void replace(const FilePtr& file, const FileVersion& version, UniqueFunction<void()> then);
  void apply(const FilePtr& file, const FileVersion& version, bool grew, UniqueFunction<void()> then);
  void keep_bytes(const FilePtr& file, DeltaResult result);
  void over(const FilePtr& file, const std::optional<FileVersion>& now);

  EngineContext context_;
  SessionPool& pool_;
  Lister& lister_;
  const PushFences& fences_;
  std::unordered_map<NodeId, FilePtr> files_;
  std::vector<DeltaFetchPtr> lingering_;  // over, but a session still speaks to them
  std::atomic<size_t> held_{0};           // of files_
  bool closing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
