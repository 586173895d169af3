// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_data_run.h"

#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

namespace {
constexpr size_t kPieceBytes = 1 << 20;  // read and sent at once
}

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
  if (!sender_) next_file();
}

template <class T>
void PushDataRun::compute(UniqueFunction<Result<T>(PushSender&)> work, void (PushDataRun::*then)(Result<T>)) {
  computing_ = true;
  context_.executor.submit([this, &loop = context_.loop, alive = alive_, sender = sender_,
                            work = std::move(work), then]() mutable {
    auto result = work(*sender);
    sender.reset();
    loop.post([this, alive = std::move(alive), result = std::move(result), then]() mutable {
      if (!*alive) return;
      computing_ = false;
      if (connection_->ended()) return;
      (this->*then)(std::move(result));
    });
  });
}

void PushDataRun::next_file() {
  sender_.reset();
  if (requests_.empty()) return;
  PushRequest request = std::move(requests_.front());
  requests_.pop_front();
  current_ = request.index;
  current_bytes_ = 0;
  result_.files[current_].digest.reset();
  if (result_.files[current_].failure) return decline(std::nullopt);
  const PushFile& file = files_[current_];
  const PushSession& session = connection_->wire();
  const PushSender::Wire wire{session.checksum(), session.checksum_seed(),
                              session.compression() != CompressionKind::kNone};
  sender_ = std::make_shared<PushSender>(file.snapshot, file.basis, file.occupant, std::move(request), wire,
                                         context_.buffers);
  compute<Examined>(
      [](PushSender& sender) -> Result<Examined> {
        const auto agreed = sender.examine();
        if (!agreed) return agreed.error();
        if (!*agreed) return Examined();
        return Examined{true, sender.next(kPieceBytes)};
      },
      &PushDataRun::examined);
}

void PushDataRun::decline(const std::optional<Error>& why) {
  PushedFile& file = result_.files[current_];
  // What could not be read is asked for once more: that says nothing about what the source has.
  if (!file.failure) {
    file.declined = !why;
    file.failure = why;
  }
  connection_->wire().decline(current_);
  connection_->flush();
  next_file();
}

void PushDataRun::examined(Result<Examined> found) {
  if (!found) return decline(found.error());
  if (!found->agreed) return decline(std::nullopt);
  connection_->wire().begin_file(current_, sender_->head());
  send(std::move(found->first));
}

void PushDataRun::read_more() {
  if (connection_->full()) {
    wants_room_ = true;
    return;
  }
  compute<PushPieces>([](PushSender& sender) { return sender.next(kPieceBytes); }, &PushDataRun::send);
}

void PushDataRun::on_room() {
  if (!wants_room_ || connection_->full()) return;
  wants_room_ = false;
  read_more();
}

// A file that cannot be read to its end is ended with a wrong digest: the source drops what it has of it.
void PushDataRun::send(Result<PushPieces> pieces) {
  if (!pieces) {
    log_error("reading what is to be pushed: " + pieces.error().message());
    result_.files[current_].failure = pieces.error();
    ChecksumValue wrong;
    wrong.size = static_cast<uint8_t>(checksum_size(connection_->wire().checksum()));
    return end_file(wrong);
  }
  for (const PushPieces::Piece& piece : pieces->pieces) {
    if (piece.blocks == 0) connection_->wire().literal(piece.literal);
    for (uint32_t i = 0; i < piece.blocks; ++i) connection_->wire().copy(piece.block + i);
  }
  current_bytes_ += pieces->bytes;
  result_.literal_bytes += pieces->literal_bytes;
  result_.copied_bytes += pieces->bytes - pieces->literal_bytes;
  if (pieces->digest) {
    result_.files[current_].digest = pieces->digest;
    return end_file(*pieces->digest);
  }
  connection_->flush();
  read_more();
}

void PushDataRun::end_file(const ChecksumValue& digest) {
  connection_->wire().end_file(digest);
  connection_->flush();
  next_file();
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
