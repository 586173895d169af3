// SPDX-License-Identifier: GPL-3.0-or-later
// One session that pushes contents: answers the requests of its list in their order, reading and computing on
// the executor, small files many at once, sending on the loop.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sync/engine/push_connection.h"
#include "sync/engine/push_errors.h"
#include "sync/engine/push_sender.h"
#include "sync/engine/push_sessions.h"
#include "sync/engine/waiters.h"

namespace rsyncfs {

struct PushFile {
  PushEntry entry;
  std::shared_ptr<PushSnapshot> snapshot;
  PushBasis basis = PushBasis::kNothing;
  std::shared_ptr<const Content> occupant;
};

// What became of one file, by its place.
struct PushedFile {
  bool succeeded = false;
  bool requested = false;
  bool declined = false;  // the source has something else than was expected
  std::optional<Error> failure;
  std::optional<ChecksumValue> digest;  // of the whole file; not with kAppended
};

struct PushDataResult {
  std::vector<PushedFile> files;
  std::string digest_name;
  PushErrors errors;
  Result<void> end;  // as PushRunResult's
  uint64_t literal_bytes = 0;
  uint64_t copied_bytes = 0;
};

// Loop thread only. Destroying it ends the session.
class PushDataRun final : private PushUser {
 public:
  // `config` without entries. `done`: once, never from inside the constructor's call.
  PushDataRun(const EngineContext& context, PushSessions& sessions, PushConfig config,
              std::vector<PushFile> files, UniqueFunction<void(PushDataResult)> done);
  ~PushDataRun() override;
  PushDataRun(const PushDataRun&) = delete;
  PushDataRun& operator=(const PushDataRun&) = delete;

  void tick(Clock::time_point now, std::chrono::milliseconds stall);
  void add_transfers(std::vector<TransferStatus>& out) const;
  const std::vector<PushFile>& files() const { return files_; }

 private:
  void on_request(PushRequest request) override;
  void on_success(size_t index) override { result_.files[index].succeeded = true; }
  void on_message(MessageKind kind, std::string_view text) override { result_.errors.add(kind, text); }
  void on_finished() override {}
  void on_room() override;
  void on_ended(Result<void> end) override;
  void next_files();
  // One request, and what it comes to. A small file is read by the way.
  struct Asked {
    size_t index = 0;
    std::shared_ptr<PushSender> sender;
    Result<bool> agreed = false;
    Result<PushPieces> first = PushPieces();
  };
  using Batch = std::vector<Asked>;
  std::shared_ptr<Batch> take_requests();
  void examined(Batch& batch);
  void read_more();
  void send(Result<PushPieces> pieces);
  void put(const PushPieces& pieces);
  void end_badly(const Error& why);
  void decline(size_t index, const std::optional<Error>& why);
  // `work` on the executor, then `then` on the loop, if anybody still wants it.
  void compute(UniqueFunction<void()> work, UniqueFunction<void()> then);

  const EngineContext& context_;
  std::vector<PushFile> files_;
  UniqueFunction<void(PushDataResult)> done_;
  PushDataResult result_;
  std::shared_ptr<PushConnection> connection_;
  std::deque<PushRequest> requests_;
  std::shared_ptr<PushSender> sender_;  // of the request that is being answered
  size_t current_ = 0;
  bool computing_ = false;
  bool wants_room_ = false;
  uint64_t current_bytes_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rsyncfs
