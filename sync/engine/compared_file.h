// SPDX-License-Identifier: GPL-3.0-or-later
// One file on its way through a SourceComparison.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "sync/engine/comparison_sums.h"
#include "sync/engine/file_target.h"
#include "sync/engine/remote_session.h"
#include "sync/engine/waiters.h"
#include "sync/engine/whole_file.h"

namespace rsyncfs {

// Loop thread only, but for the sums while they are computed.
struct ComparedFile final : FileSink, std::enable_shared_from_this<ComparedFile> {
  class Owner {
   public:
    virtual ~Owner() = default;
    // The source has sent what is not here at that place.
    virtual void refuted(ComparedFile& file) = 0;
    virtual void answered(ComparedFile& file, FileEnd end) = 0;
  };
  enum class State : uint8_t { kQueued, kSumming, kRequested, kRevalidating, kOver };

  ComparedFile(Owner& file_owner, FileTarget wanted, std::shared_ptr<const Content> here,
               Waiter<Comparison> asked)
      : target(std::move(wanted)), content(std::move(here)), waiter(std::move(asked)), owner_(file_owner) {}

  bool is_small() const { return target.size <= kMaxWholeFileBytes; }
  // A session has it as its sink.
  bool is_awaited() const { return requested && !session->ended(); }

  Result<void> literal(uint64_t offset, std::span<const std::byte> data) override;
  Result<std::span<const std::byte>> copy(uint64_t /*offset*/, uint64_t /*basis_offset*/,
                                          uint32_t /*length*/) override {
    return std::span<const std::byte>();
  }
  bool digests() const override { return true; }
  void done(FileEnd end) override;

  const FileTarget target;
  const std::shared_ptr<const Content> content;
  Waiter<Comparison> waiter;
  State state = State::kQueued;
  const RemoteSession* expecting = nullptr;  // queued: the session that will list it
  std::shared_ptr<RemoteSession> session;    // summing and requested
  uint32_t ndx = 0;
  std::shared_ptr<ComparisonSums> sums;
  bool requested = false;
  uint64_t sequence = 0;  // of requests
  unsigned attempts = 0;

 private:
  Owner& owner_;
};

using ComparedFilePtr = std::shared_ptr<ComparedFile>;

}  // namespace rsyncfs
