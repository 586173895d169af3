// SPDX-License-Identifier: GPL-3.0-or-later
// One file on its way that is fetched whole: its bytes in memory, and who waits for them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "sync/engine/file_target.h"
#include "sync/engine/remote_session.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

constexpr uint64_t kMaxWholeFileBytes = 1 << 20;

class WholeFile;
using WholeFilePtr = std::shared_ptr<WholeFile>;

// Loop thread only.
class WholeFile final : public FileSink, public std::enable_shared_from_this<WholeFile> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Some bytes, or the end, came.
    virtual void delivered(WholeFile& file) = 0;
    virtual void received(const WholeFilePtr& file, FileEnd end) = 0;
  };
  struct Reader : Waiter<ReadBytes> {
    uint64_t offset = 0;
    uint32_t length = 0;
  };
  enum class State : uint8_t { kQueued, kRequested, kRevalidating, kComplete, kFailed };

  WholeFile(Owner& owner, FileTarget wanted_file) : target(std::move(wanted_file)), owner_(owner) {}

  Result<void> literal(uint64_t offset, std::span<const std::byte> data) override;
  Result<std::span<const std::byte>> copy(uint64_t offset, uint64_t basis_offset, uint32_t length) override;
  void done(FileEnd end) override;

  bool wanted() const { return !readers.empty() || !hydrators.empty(); }
  void answer(Reader& reader);

  FileTarget target;
  State state = State::kQueued;
  bool demanded = false;
  bool outgrown = false;           // more came than a whole file may have: to be listed anew
  std::atomic<bool> shown{false};  // EngineContext::may_show(); set on the loop
  unsigned attempts = 0;
  unsigned lost_connections = 0;
  std::shared_ptr<RemoteSession> session;  // kRequested
  uint64_t booked_bytes = 0;               // on that session
  Clock::time_point requested_at{};
  bool filled_window = false;                // of that session
  uint64_t sequence = 0;                     // order of requests
  const RemoteSession* expecting = nullptr;  // kQueued: a directory session being opened for it
  std::shared_ptr<std::vector<std::byte>> bytes = std::make_shared<std::vector<std::byte>>();
  std::vector<Reader> readers;
  std::vector<Waiter<void>> hydrators;
  FileEnd outcome;
  std::string_view digest_name;  // of outcome.digest

 private:
  Owner& owner_;
};

}  // namespace rsyncfs
