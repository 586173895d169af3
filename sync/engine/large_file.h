// SPDX-License-Identifier: GPL-3.0-or-later
// One large file on its way: what has landed, who waits for what, and the streams that bring it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sync/engine/delta_fetch.h"
#include "sync/engine/file_target.h"
#include "sync/engine/passing_bytes.h"
#include "sync/engine/ready_sessions.h"
#include "sync/engine/remote_session.h"
#include "sync/engine/waiters.h"
#include "sync/replica/content.h"

namespace rsyncfs {

// So long a stream serves its readers before others, who came earlier, may have its place.
constexpr std::chrono::milliseconds kStreamTurn{1'000};

struct LargeFile;
using LargeFilePtr = std::shared_ptr<LargeFile>;

// One stream of a file, [start, ...), on a session of its own. Loop thread only.
class FileStream final : public FileSink {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void stream_bytes(const LargeFilePtr& file, uint64_t offset, SharedBytes bytes) = 0;
    virtual void stream_done(const LargeFilePtr& file, FileStream& stream, FileEnd end) = 0;
  };
  // `first_end`: of the read that it is opened for.
  FileStream(Owner& owner, LargeFile& file, uint64_t start, uint64_t first_end, BufferPool& buffers)
      : owner_(owner),
        file_(file),
        start_(start),
        buffers_(buffers),
        position_(start),
        first_end_(first_end),
        demanded_end_(first_end) {}

  Result<void> literal(uint64_t offset, std::span<const std::byte> data) override;
  Result<std::span<const std::byte>> copy(uint64_t offset, uint64_t basis_offset, uint32_t length) override;
  void done(FileEnd end) override;
  // Hands on what has gathered.
  void flush();

  uint64_t start() const { return start_; }
  uint64_t position() const { return position_; }  // bytes before it were received
  uint64_t beyond() const { return beyond_; }      // bytes that came after the end that the file had
  // So far behind at most that waiting is quicker than another stream.
  bool will_bring(uint64_t offset) const;
  // Somebody reads there: if that is where the stream is, it goes on.
  void note_read(uint64_t offset, uint64_t end);
  uint64_t demanded_end() const { return demanded_end_; }
  // It is no probe any more, whoever reads.
  void bring_all();
  uint64_t first_bytes() const { return first_end_ - start_; }
  // It began in the middle, and nobody has read on from there: no reason to send more than was asked for.
  bool is_probe() const { return start_ > 0 && demanded_end_ <= first_end_; }

  std::shared_ptr<RemoteSession> session;
  bool requested = false;
  const Clock::time_point opened_at = Clock::now();

 private:
  Owner& owner_;
  LargeFile& file_;
  const uint64_t start_;
  BufferPool& buffers_;
  uint64_t position_;
  const uint64_t first_end_;
  uint64_t demanded_end_;
  uint64_t beyond_ = 0;
  BufferPool::Buffer chunk_;
  size_t gathered_ = 0;  // of it
};

struct LargeFile : std::enable_shared_from_this<LargeFile> {
  struct Reader : Waiter<ReadBytes> {
    uint64_t asked_offset = 0;
    uint64_t asked_end = 0;
    uint64_t offset = 0;  // of what was asked, within the file
    uint64_t end = 0;     // exclusive
    void fit(uint64_t size) {
      offset = std::min(asked_offset, size);
      end = std::min(asked_end, size);
    }
  };
  // Touched on the store strand only.
  struct Writer {
    std::unique_ptr<ContentWriter> content;
    std::unique_ptr<PassingBytes> passing;  // instead: nothing is stored
    // Ok, or why not all of it could be had.
    Result<void> read(uint64_t offset, std::span<std::byte> out) const;
  };
  enum class State : uint8_t { kLoading, kReady, kRevalidating, kChecking, kCompleting, kOver };

  explicit LargeFile(FileTarget wanted_file) : target(std::move(wanted_file)) {}
  bool wanted() const { return !readers.empty() || !hydrators.empty(); }
  // The first byte that a reader lacks; nothing when all is here, or on its way to the disk.
  std::optional<uint64_t> lacks(const Reader& reader) const;
  // Where streams are to begin: what somebody lacks and no stream is about to bring, for the oldest request
  // first.
  struct Start {
    uint64_t offset = 0;
    uint64_t end = 0;         // of what is wanted
    Clock::time_point since;  // how long it has been waited for
  };
  std::vector<Start> starts() const;
  // The stream that makes room for one that has been waited for `since` then; null: all are needed. One that
  // nobody waits for goes, a parked one first; or one whose readers came later, when it has had its turn.
  FileStream* victim(Clock::time_point since, Clock::time_point now) const;

  FileTarget target;
  State state = State::kLoading;
  std::shared_ptr<Writer> writer = std::make_shared<Writer>();
  ExtentSet landed;    // can be read from the writer
  ExtentSet received;  // landed, or on the store strand
  std::vector<Reader> readers;
  std::vector<Waiter<void>> hydrators;
  std::list<std::unique_ptr<FileStream>> streams;
  uint64_t unstored_bytes = 0;     // on the store strand
  uint64_t uncommitted_bytes = 0;  // written since the extents were last recorded
  unsigned seeks = 0;              // reads for which a stream had to begin in the middle
  Clock::time_point last_seek{};
  std::unique_ptr<ReadySessions> ready;  // for the next ones
  std::string digest;                    // of the whole file, when one stream brought all of it
  std::string digest_name;
  std::optional<Error> passing;  // why nothing of it is stored
  bool shown = false;            // EngineContext::may_show()
  bool outdated = false;         // a stream proved that the source has another version
  bool disproved = false;        // bytes that readers may have are wrong
  unsigned attempts = 0;
  unsigned barren = 0;  // streams that broke before they brought anything, in a row
  Clock::time_point last_landing{};
  Clock::time_point last_used = Clock::now();
  Clock::time_point last_read{};
  Clock::time_point loaded_at;
  DeltaFetchPtr delta;               // brings all of it, beside the streams
  Clock::time_point streams_from{};  // with a delta: readers wait so long for it
  bool delta_tried = false;
};

}  // namespace rsyncfs
