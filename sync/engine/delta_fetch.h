// SPDX-License-Identifier: GPL-3.0-or-later
// Brings one version of a file by what differs from an older one: block sums of that are sent, and what comes
// back is put together beside it. Nobody sees a byte before the digest of the whole has matched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "sync/engine/basis_sums.h"
#include "sync/engine/delta_assembly.h"
#include "sync/engine/file_target.h"
#include "sync/engine/session_pool.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

// Larger ones are fetched anew: their sums would take megabytes, and their server a minute before it answers.
constexpr uint64_t kMaxDeltaBytes = uint64_t{8} << 30;

// Whether `basis` is enough of a version of so many bytes: at least half of the larger one.
bool worth_a_delta(const Content& basis, uint64_t size);

// Loop thread only. Whoever has it keeps it until idle().
class DeltaFetch final : public FileSink,
                         public SessionUser,
                         public std::enable_shared_from_this<DeltaFetch> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Something came, or was worked off.
    virtual void delta_progress(DeltaFetch& delta) = 0;
    // With may_grow: the older version is not the beginning of this one. The rest still comes.
    virtual void delta_refuted(DeltaFetch& /*delta*/) {}
    // Once, last; not after cancel().
    virtual void delta_done(DeltaFetch& delta, Result<DeltaResult> result) = 0;
  };
  // `may_grow`: see DeltaAssembly. Then a later version than the target's will do as well, and small files
  // may come by a session that others use.
  DeltaFetch(const EngineContext& context, SessionPool& pool, Owner& owner, FileTarget target,
             std::shared_ptr<const Content> basis, bool may_grow);
  ~DeltaFetch() override;

  // Until it says true: no session can be had now.
  bool start();
  bool started() const { return state_ != State::kNew; }
  void cancel();
  // A session that it shares with others may have ended.
  void look_after_session();
  // No session speaks to it any more.
  bool idle() const { return !requested_ || session_->ended() || answered_; }
  const FileTarget& target() const { return target_; }  // the version that is being brought
  uint64_t received_bytes() const { return received_; }

  Result<void> literal(uint64_t offset, std::span<const std::byte> data) override;
  Result<std::span<const std::byte>> copy(uint64_t offset, uint64_t basis_offset, uint32_t length) override;
  bool digests() const override { return true; }
  void done(FileEnd end) override;

  void session_listed(RemoteSession& session) override;
  void session_drained(RemoteSession& session) override;
  void session_ended(RemoteSession& session, const Error& why) override;

 private:
  enum class State : uint8_t { kNew, kListing, kSumming, kReceiving, kAssembling, kOver };

  void make_sums(uint32_t ndx);
  void sum_more(std::shared_ptr<BasisSums> sums);
  void request(const std::shared_ptr<BasisSums>& sums);
  void assemble();
  void step();
  void assembled(const Result<bool>& more, uint64_t waiting_bytes, bool refuted);
  void finish_assembly();
  void pause_if_behind();
  void finish(Result<DeltaResult> result);
  void release_session(const char* why);

  EngineContext context_;
  SessionPool& pool_;
  Owner& owner_;
  FileTarget target_;
  const std::shared_ptr<const Content> basis_;
  const bool may_grow_;
  State state_ = State::kNew;
  bool own_session_ = false;
  std::shared_ptr<RemoteSession> session_;
  bool held_ = false;
  uint32_t ndx_ = 0;
  std::shared_ptr<BasisSums> sums_;
  std::shared_ptr<DeltaAssembly> assembly_;  // used on the store strand
  std::vector<DeltaPiece> pieces_;           // not handed to it yet
  uint64_t gathered_bytes_ = 0;              // literal ones of these
  uint64_t waiting_bytes_ = 0;               // literal ones that it has not worked off
  uint64_t received_ = 0;
  bool working_ = false;  // on the strand
  bool requested_ = false;
  bool answered_ = false;
  bool told_refuted_ = false;
  std::optional<ChecksumValue> sent_digest_;
};

using DeltaFetchPtr = std::shared_ptr<DeltaFetch>;

}  // namespace rsyncfs
