// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_data_run.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

namespace {
constexpr size_t kPieceBytes = 1 << 20;  // read and sent at once
// Requests that are worked on at once. One hand-over to the executor for each costs more than reading a small
// file.
constexpr size_t kMostAtOnce = 32;

Result<PushPieces> joined(PushPieces pieces, Result<PushPieces> more) {
  if (!more) return more.error();
  std::move(more->pieces.begin(), more->pieces.end(), std::back_inserter(pieces.pieces));
  pieces.literal_bytes += more->literal_bytes;
  pieces.bytes += more->bytes;
  pieces.digest = more->digest;
  return pieces;
}

}  // namespace

PushDataRun::PushDataRun(const EngineContext& context, PushSessions& sessions, PushConfig config,
                         std::vector<PushFile> files, UniqueFunction<void(PushDataResult)> done)
    : context_(context), files_(std::move(files)), done_(std::move(done)) {
  result_.files.resize(files_.size());
  for (const PushFile& file : files_) config.entries.push_back(file.entry);
  connection_ = sessions.open(std::move(config), *this);
  if (connection_) return;
  context_.loop.post([this, alive = alive_] {
    if (*alive) on_ended(Error(Errc::kCanceled, "no session can be had now"));
  });
}

PushDataRun::~PushDataRun() {
  *alive_ = false;
  if (connection_) connection_->close(Error(Errc::kCanceled, "given up"));
}

void PushDataRun::tick(Clock::time_point now, std::chrono::milliseconds stall) {
  if (!connection_) return;
  if (computing_) connection_->touch();
  connection_->tick(now, stall);
}

void PushDataRun::add_transfers(std::vector<TransferStatus>& out) const {
  if (!sender_) return;
  const PushFile& file = files_[current_];
  out.push_back({file.entry.path, current_bytes_, file.entry.size});
}

void PushDataRun::on_request(PushRequest request) {
  result_.files[request.index].requested = true;
  requests_.push_back(std::move(request));
  if (!sender_) next_files();
}

void PushDataRun::compute(UniqueFunction<void()> work, UniqueFunction<void()> then) {
  computing_ = true;
  context_.executor.submit([this, &loop = context_.loop, alive = alive_, work = std::move(work),
                            then = std::move(then)]() mutable {
    work();
    work = nullptr;
    loop.post([this, alive = std::move(alive), then = std::move(then)]() mutable {
      if (!*alive) return;
      computing_ = false;
      if (!connection_->ended()) then();
    });
  });
}

// A file that is larger than a piece is the last of them: it goes on by itself.
std::shared_ptr<PushDataRun::Batch> PushDataRun::take_requests() {
  auto batch = std::make_shared<Batch>();
  uint64_t bytes = 0;
  const PushSession& session = connection_->wire();
  const PushSender::Wire wire{session.checksum(), session.checksum_seed(),
                              session.compression() != CompressionKind::kNone};
  while (!requests_.empty() && batch->size() < kMostAtOnce && bytes < kPieceBytes) {
    PushRequest request = std::move(requests_.front());
    requests_.pop_front();
    const size_t index = request.index;
    result_.files[index].digest.reset();
    if (result_.files[index].failure) {
      decline(index, std::nullopt);
      continue;
    }
    const PushFile& file = files_[index];
    bytes += file.entry.size;
    Asked& asked = batch->emplace_back();
    asked.index = index;
    asked.sender = std::make_shared<PushSender>(file.snapshot, file.basis, file.occupant, std::move(request),
                                                wire, context_.buffers);
  }
  return batch;
}

void PushDataRun::next_files() {
  sender_.reset();
  if (connection_->ended()) return;
  const auto batch = take_requests();
  connection_->flush();
  if (batch->empty()) return;
  current_ = batch->front().index;
  current_bytes_ = 0;
  sender_ = batch->front().sender;
  std::vector<std::shared_ptr<PushSnapshot>> snapshots;
  for (const Asked& asked : *batch) snapshots.push_back(files_[asked.index].snapshot);
  compute(
      [batch, snapshots = std::move(snapshots), &pending = context_.replica.pending()] {
        pending.read_ahead(snapshots);
        for (Asked& asked : *batch) {
          asked.agreed = asked.sender->examine();
          if (!asked.agreed || !*asked.agreed) continue;
          asked.first = asked.sender->next(kPieceBytes);
          while (&asked != &batch->back() && asked.first && !asked.first->digest)
            asked.first = joined(std::move(*asked.first), asked.sender->next(kPieceBytes));
        }
      },
      [this, batch] { examined(*batch); });
}

void PushDataRun::decline(size_t index, const std::optional<Error>& why) {
  PushedFile& file = result_.files[index];
  // What could not be read is asked for once more: that says nothing about what the source has.
  if (!file.failure) {
    file.declined = !why;
    file.failure = why;
  }
  connection_->wire().decline(index);
}

void PushDataRun::examined(Batch& batch) {
  for (Asked& asked : batch) {
    if (!asked.agreed) {
      decline(asked.index, asked.agreed.error());
      continue;
    }
    if (!*asked.agreed) {
      decline(asked.index, std::nullopt);
      continue;
    }
    current_ = asked.index;
    current_bytes_ = 0;
    sender_ = asked.sender;
    connection_->wire().begin_file(asked.index, asked.sender->head());
    if (!asked.first) {
      end_badly(asked.first.error());
      continue;
    }
    put(*asked.first);
    if (!result_.files[current_].digest) {
      RSYNCFS_CHECK(&asked == &batch.back());
      connection_->flush();
      return read_more();
    }
  }
  next_files();
}

void PushDataRun::read_more() {
  if (connection_->full()) {
    wants_room_ = true;
    return;
  }
  const auto pieces = std::make_shared<Result<PushPieces>>(PushPieces());
  compute([pieces, sender = sender_] { *pieces = sender->next(kPieceBytes); },
          [this, pieces] { send(std::move(*pieces)); });
}

void PushDataRun::on_room() {
  if (!wants_room_ || connection_->full()) return;
  wants_room_ = false;
  read_more();
}

void PushDataRun::send(Result<PushPieces> pieces) {
  if (!pieces) {
    end_badly(pieces.error());
    return next_files();
  }
  put(*pieces);
  if (result_.files[current_].digest) return next_files();
  connection_->flush();
  read_more();
}

void PushDataRun::put(const PushPieces& pieces) {
  for (const PushPieces::Piece& piece : pieces.pieces) {
    if (piece.blocks == 0) connection_->wire().literal(piece.literal);
    for (uint32_t i = 0; i < piece.blocks; ++i) connection_->wire().copy(piece.block + i);
  }
  current_bytes_ += pieces.bytes;
  result_.literal_bytes += pieces.literal_bytes;
  result_.copied_bytes += pieces.bytes - pieces.literal_bytes;
  if (!pieces.digest) return;
  result_.files[current_].digest = pieces.digest;
  connection_->wire().end_file(*pieces.digest);
}

// A file that cannot be read to its end is ended with a wrong digest: the source drops what it has of it.
void PushDataRun::end_badly(const Error& why) {
  log_error("reading what is to be pushed: " + why.message());
  result_.files[current_].failure = why;
  ChecksumValue wrong;
  wrong.size = static_cast<uint8_t>(checksum_size(connection_->wire().checksum()));
  connection_->wire().end_file(wrong);
}

void PushDataRun::on_ended(Result<void> end) {
  result_.end = std::move(end);
  if (connection_) result_.digest_name = checksum_name(connection_->wire().checksum());
  sender_.reset();
  requests_.clear();
  auto done = std::exchange(done_, nullptr);
  if (done) done(std::move(result_));
}

}  // namespace rsyncfs
