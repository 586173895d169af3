// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/delta_fetch.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/whole_file.h"

namespace rsyncfs {

namespace {

constexpr uint64_t kSumPieceBytes = 8 << 20;     // computed at once on the executor
constexpr uint64_t kMaxWaitingBytes = 32 << 20;  // received and not written: the session waits for the disk
constexpr size_t kMaxLiteralBytes = 1 << 20;     // of one piece
constexpr uint64_t kMaxCopyBytes = uint64_t{1} << 40;
constexpr uint64_t kServerReadsBytesPerSecond = 32 << 20;  // at least
constexpr uint64_t kSharedWindowBytes = 1 << 20;           // outstanding on a session that others use

}  // namespace

bool worth_a_delta(const Content& basis, uint64_t size) {
  if (size == 0 || size > kMaxDeltaBytes || basis.size() > kMaxDeltaBytes) return false;
  return basis.extents().bytes() >= std::max(size, basis.size()) / 2;
}

DeltaFetch::DeltaFetch(const EngineContext& context, SessionPool& pool, Owner& owner, FileTarget target,
                       std::shared_ptr<const Content> basis, bool may_grow)
    : context_(context),
      pool_(pool),
      owner_(owner),
      target_(std::move(target)),
      basis_(std::move(basis)),
      may_grow_(may_grow) {}

DeltaFetch::~DeltaFetch() = default;

bool DeltaFetch::start() {
  if (state_ != State::kNew) return true;
  if (may_grow_ && target_.size <= kMaxWholeFileBytes) {
    const auto found =
        pool_.find_file(target_.path, target_.size, target_.mtime_s, target_.mtime_ns, kSharedWindowBytes);
    if (found.session) {
      session_ = found.session;
      make_sums(found.ndx);
      return true;
    }
  }
  SessionSpec spec;
  spec.purpose = SessionSpec::Purpose::kStream;
  spec.paths.push_back(target_.path);
  spec.delta = true;
  spec.demanded = true;
  session_ = pool_.open(std::move(spec), *this);
  if (!session_) return false;
  own_session_ = true;
  state_ = State::kListing;
  return true;
}

void DeltaFetch::session_listed(RemoteSession& session) {
  if (state_ != State::kListing) return;
  const auto ndx = session.list().find(target_.path);
  const FileEntry* entry = ndx ? &session.list().entry(*ndx) : nullptr;
  if (entry == nullptr || entry->mode == 0) {
    finish(Error(Errc::kVanished, "the file is gone from the source"));
    return;
  }
  if (!target_.matches(*entry)) {
    if (!may_grow_ || !S_ISREG(entry->mode) || entry->size < target_.size) {
      finish(Error(Errc::kChanged, "the file was replaced on the source"));
      return;
    }
    target_.size = entry->size;
    target_.mtime_s = entry->mtime_s;
    target_.mtime_ns = entry->mtime_ns;
  }
  make_sums(*ndx);
}

void DeltaFetch::make_sums(uint32_t ndx) {
  if (session_->checksum() == ChecksumKind::kNone) {
    finish(Error(Errc::kUnsupported, "without checksums nothing is made of older versions"));
    return;
  }
  state_ = State::kSumming;
  ndx_ = ndx;
  session_->hold();
  held_ = true;
  const bool runs = session_->compression() != CompressionKind::kNone;
  sum_more(std::make_shared<BasisSums>(basis_, session_->checksum(), session_->checksum_seed(),
                                       cheapest_block_length(basis_->size(), target_.size, runs),
                                       !may_grow_));
}

void DeltaFetch::sum_more(std::shared_ptr<BasisSums> sums) {
  context_.executor.submit(
      [self = shared_from_this(), &loop = context_.loop, sums = std::move(sums)]() mutable {
        const bool more = sums->compute(kSumPieceBytes);
        loop.post([self = std::move(self), sums = std::move(sums), more]() mutable {
          if (self->state_ != State::kSumming) return;
          self->owner_.delta_progress(*self);
          if (self->state_ != State::kSumming) return;
          more ? self->sum_more(std::move(sums)) : self->request(sums);
        });
      });
}

void DeltaFetch::request(const std::shared_ptr<BasisSums>& sums) {
  if (session_->ended()) {
    finish(session_->broken().value_or(Error(Errc::kCanceled, "the session ended")));
    return;
  }
  sums_ = sums;
  state_ = State::kReceiving;
  assembly_ =
      std::make_shared<DeltaAssembly>(context_.replica, target_, basis_, session_->checksum(), may_grow_);
  session_->release();
  held_ = false;
  requested_ = true;
  const std::chrono::milliseconds silence(std::max(target_.size, basis_->size()) * 1000 /
                                          kServerReadsBytesPerSecond);
  session_->request_delta(ndx_, sums->sums(), *this, silence);
}

Result<void> DeltaFetch::literal(uint64_t /*offset*/, std::span<const std::byte> data) {
  received_ += data.size();
  if (state_ != State::kReceiving) return Error(Errc::kCanceled, "nobody wants it any more");
  gathered_bytes_ += data.size();
  if (pieces_.empty() || pieces_.back().copy ||
      pieces_.back().literal.size() + data.size() > kMaxLiteralBytes)
    pieces_.emplace_back();
  auto& literal = pieces_.back().literal;
  literal.insert(literal.end(), data.begin(), data.end());
  if (!own_session_) assemble();
  return {};
}

Result<std::span<const std::byte>> DeltaFetch::copy(uint64_t /*offset*/, uint64_t basis_offset,
                                                    uint32_t length) {
  received_ += length;
  if (state_ != State::kReceiving) return Error(Errc::kCanceled, "nobody wants it any more");
  const uint64_t place = sums_->place_of(basis_offset);
  const bool follows = !pieces_.empty() && pieces_.back().copy &&
                       pieces_.back().from + pieces_.back().length == place &&
                       pieces_.back().length + length <= kMaxCopyBytes;
  if (follows) {
    pieces_.back().length += length;
  } else {
    DeltaPiece& piece = pieces_.emplace_back();
    piece.copy = true;
    piece.from = place;
    piece.length = length;
  }
  return std::span<const std::byte>();
}

void DeltaFetch::session_drained(RemoteSession& /*session*/) {
  if (state_ != State::kReceiving) return;
  assemble();
  pause_if_behind();
}

void DeltaFetch::pause_if_behind() {
  if (own_session_ && session_ && !session_->ended())
    session_->set_paused(state_ == State::kReceiving && gathered_bytes_ + waiting_bytes_ > kMaxWaitingBytes);
}

void DeltaFetch::done(FileEnd end) {
  const auto self = shared_from_this();
  answered_ = true;
  if (state_ != State::kReceiving) return;
  if (end.status != FileEnd::Status::kGood || !end.digest) {
    finish(end.status == FileEnd::Status::kGood ? Error(Errc::kCorrupt, "no digest was sent") : end.reason);
    return;
  }
  sent_digest_ = end.digest;
  state_ = State::kAssembling;
  assemble();
}

// What has come is worked off by the store's strand, a piece at a time.
void DeltaFetch::assemble() {
  if (working_ || !assembly_ || (state_ != State::kReceiving && state_ != State::kAssembling)) return;
  if (pieces_.empty() && state_ == State::kReceiving) return;
  step();
}

void DeltaFetch::step() {
  working_ = true;
  waiting_bytes_ += std::exchange(gathered_bytes_, 0);
  context_.store.post([self = shared_from_this(), assembly = assembly_, &loop = context_.loop,
                       pieces = std::exchange(pieces_, {})]() mutable {
    assembly->add(std::move(pieces));
    auto more = assembly->step();
    loop.post([self = std::move(self), more = std::move(more), waiting = assembly->literal_bytes(),
               refuted = assembly->refuted()] { self->assembled(more, waiting, refuted); });
  });
}

void DeltaFetch::assembled(const Result<bool>& more, uint64_t waiting_bytes, bool refuted) {
  working_ = false;
  if (state_ == State::kOver) return;
  waiting_bytes_ = waiting_bytes;
  if (!more) {
    finish(more.error());
    return;
  }
  owner_.delta_progress(*this);
  if (refuted && !std::exchange(told_refuted_, true)) owner_.delta_refuted(*this);
  if (state_ == State::kOver) return;
  pause_if_behind();
  if (*more || !pieces_.empty()) {
    step();
  } else if (state_ == State::kAssembling) {
    finish_assembly();
  }
}

void DeltaFetch::finish_assembly() {
  working_ = true;
  context_.store.post([self = shared_from_this(), assembly = assembly_, &loop = context_.loop,
                       sent = *sent_digest_]() mutable {
    auto result = std::make_shared<Result<DeltaResult>>(assembly->finish(sent));
    loop.post([self = std::move(self), result] {
      self->working_ = false;
      if (self->state_ != State::kOver) self->finish(std::move(*result));
    });
  });
}

void DeltaFetch::session_ended(RemoteSession& /*session*/, const Error& why) {
  if (state_ != State::kOver && !answered_) finish(why);
}

void DeltaFetch::look_after_session() {
  if (own_session_ || !session_ || answered_ || !session_->ended() || state_ == State::kOver) return;
  finish(session_->broken().value_or(Error(Errc::kCanceled, "the session ended")));
}

void DeltaFetch::release_session(const char* why) {
  context_.store.post([assembly = std::exchange(assembly_, nullptr)] {});  // it may have a file open
  if (std::exchange(held_, false)) session_->release();
  if (own_session_ && session_ && !session_->ended()) session_->fail(Error(Errc::kCanceled, why));
}

void DeltaFetch::finish(Result<DeltaResult> result) {
  const auto self = shared_from_this();
  if (state_ == State::kOver) return;
  state_ = State::kOver;
  release_session("the file is complete");
  if (!result) log_debug("by delta: " + target_.path + ": " + result.error().message());
  owner_.delta_done(*this, std::move(result));
}

void DeltaFetch::cancel() {
  const auto self = shared_from_this();
  if (state_ == State::kOver) return;
  state_ = State::kOver;
  release_session("the file is not wanted any more");
}

}  // namespace rsyncfs
