// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/source_comparison.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

namespace {

constexpr unsigned kMaxAttempts = 4;            // sessions that end over one file
constexpr uint64_t kSumPieceBytes = 8 << 20;    // computed at once, by one of the executor's threads
constexpr size_t kMaxSummedFiles = 64;          // that it is given at once,
constexpr uint64_t kMaxSummedBytes = 1 << 20;   // with no more bytes than that before the last
constexpr size_t kMaxBatchFiles = 1'000;        // of one session of our own
constexpr size_t kMaxBatchPathBytes = 1 << 18;  // of their names
// The server reads so much before it comes to what is asked for afterwards.
constexpr uint64_t kSharedWindowBytes = 1 << 20;
constexpr size_t kSharedWindowFiles = 256;
constexpr uint64_t kOwnWindowBytes = 256 << 20;
constexpr uint64_t kServerReadsBytesPerSecond = 32 << 20;  // at least

// The error concerns what was asked for, not the session.
bool is_about_paths(const Error& why, const RemoteSession& session) {
  return why.code() == Errc::kNotFound || why.code() == Errc::kPermission || why.code() == Errc::kAuth ||
         why.code() == Errc::kNotDirectory || (why.code() == Errc::kOs && session.established());
}

}  // namespace

SourceComparison::SourceComparison(const EngineContext& context, SessionPool& pool, Lister& lister)
    : context_(context), pool_(pool), lister_(lister) {}

SourceComparison::~SourceComparison() {
  *alive_ = false;
}

void SourceComparison::compare(RequestId id, FileTarget target, std::shared_ptr<const Content> content,
                               Done<Comparison> done) {
  if (target.size > kMaxComparedBytes) {
    done(Error(Errc::kLimit, "it is too large to be compared"));
    return;
  }
  const auto now = Clock::now();
  Waiter<Comparison> waiter{id, now, now + context_.options.timeout, std::move(done)};
  const auto file =
      std::make_shared<ComparedFile>(*this, std::move(target), std::move(content), std::move(waiter));
  files_[id] = file;
  queued_.push_back(file);
}

void SourceComparison::pump() {
  if (pumping_ || closing_) return;  // opening a session may end another, which comes back here
  pumping_ = true;
  if (ended_seen_ != pool_.ended_count()) {
    ended_seen_ = pool_.ended_count();
    recover_lost();
  }
  begin_files();
  open_session();
  std::erase_if(lingering_, [](const auto& file) { return !file->is_awaited(); });
  pumping_ = false;
}

void SourceComparison::begin_files() {
  if (!summing_.empty()) return;
  uint64_t bytes = 0;
  for (auto it = queued_.begin(); it != queued_.end();) {
    if (summing_.size() == kMaxSummedFiles || bytes >= kMaxSummedBytes) break;
    const ComparedFilePtr file = *it;
    const bool begun = begin(file);
    if (begun) bytes += file->target.size;
    it = begun ? queued_.erase(it) : std::next(it);
  }
  if (!summing_.empty()) sum_more();
}

bool SourceComparison::is_listed_elsewhere(const ComparedFilePtr& file) const {
  const FileTarget& target = file->target;
  return file->is_small() &&
         pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, UINT64_MAX).session;
}

bool SourceComparison::begin(const ComparedFilePtr& file) {
  const FileTarget& target = file->target;
  if (file->is_small()) {
    auto found =
        pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, kSharedWindowBytes);
    if (found.session && found.session->outstanding() < kSharedWindowFiles) {
      make_sums(file, std::move(found.session), found.ndx);
      return true;
    }
  }
  if (!session_ || !session_->armed()) return false;
  const auto ndx = session_->list().find(target.path);
  if (!ndx && file->expecting != session_.get()) return false;  // of the next batch
  const FileEntry* entry = ndx ? &session_->list().entry(*ndx) : nullptr;
  if (entry == nullptr || entry->mode == 0) {
    finish(file, Comparison::kGone);
    return true;
  }
  if (!target.matches(*entry)) {
    finish(file, Comparison::kChanged);
    return true;
  }
  const uint64_t outstanding = session_->outstanding_bytes();
  if (outstanding > 0 && outstanding + target.size > kOwnWindowBytes) return false;
  make_sums(file, session_, *ndx);
  return true;
}

void SourceComparison::open_session() {
  std::vector<ComparedFilePtr> batch;
  size_t path_bytes = 0;
  for (const ComparedFilePtr& file : queued_) {
    if (session_ && file->expecting == session_.get()) return;  // it has something to do yet
    path_bytes += file->target.path.size();
    if (batch.size() == kMaxBatchFiles || path_bytes > kMaxBatchPathBytes) break;
    if (!is_listed_elsewhere(file)) batch.push_back(file);
  }
  if (session_) {
    const bool idle = session_->armed() && session_->outstanding() == 0;
    if (!idle || (batch.empty() && !files_.empty())) return;
    session_->fail(Error(Errc::kCanceled, "its files are compared"));
  }
  if (batch.empty()) return;
  SessionSpec spec;
  spec.purpose = SessionSpec::Purpose::kStream;
  spec.delta = true;
  spec.demanded = true;
  for (const ComparedFilePtr& file : batch) spec.paths.push_back(file->target.path);
  session_ = pool_.open(std::move(spec), *this);
  if (!session_) return;  // `changed` comes
  for (const ComparedFilePtr& file : batch) file->expecting = session_.get();
}

void SourceComparison::session_listed(RemoteSession& /*session*/) {
  last_progress_ = Clock::now();
  pump();
}

void SourceComparison::session_ended(RemoteSession& session, const Error& why) {
  if (session_.get() == &session) session_ = nullptr;
  std::vector<ComparedFilePtr> failed;
  for (const ComparedFilePtr& file : queued_) {
    if (file->expecting != &session) continue;
    file->expecting = nullptr;
    const bool counts = why.code() != Errc::kCanceled && session.established();
    if (is_about_paths(why, session) || (counts && ++file->attempts >= kMaxAttempts)) failed.push_back(file);
  }
  for (const ComparedFilePtr& file : failed) {
    queued_.remove(file);
    // Without --delete-missing-args a list of nothing but missing names is an error.
    const bool gone = why.code() == Errc::kNotFound && !pool_.features().report_missing;
    finish(file, gone ? Result<Comparison>(Comparison::kGone) : Result<Comparison>(why));
  }
}

void SourceComparison::make_sums(const ComparedFilePtr& file, std::shared_ptr<RemoteSession> session,
                                 uint32_t ndx) {
  if (session->checksum() == ChecksumKind::kNone) {
    finish(file, Error(Errc::kUnsupported, "without checksums nothing can be compared"));
    return;
  }
  file->state = ComparedFile::State::kSumming;
  file->expecting = nullptr;
  file->session = std::move(session);
  file->ndx = ndx;
  file->session->hold();
  file->sums = std::make_shared<ComparisonSums>(file->content, file->session->checksum(),
                                                file->session->checksum_seed());
  summing_.push_back(file);
}

void SourceComparison::sum_more() {
  // The files hold sessions, which are to end on the loop.
  context_.executor.submit([this, files = summing_, alive = alive_, &loop = context_.loop]() mutable {
    size_t ready = 0;
    for (uint64_t left = kSumPieceBytes; ready < files.size() && left > 0; ++ready) {
      if (files[ready]->sums->compute(left)) break;
      left -= std::min(left, files[ready]->target.size);
    }
    loop.post([this, files = std::move(files), ready, alive = std::move(alive)] {
      if (*alive) summed(ready);
    });
  });
}

void SourceComparison::summed(size_t ready) {
  last_progress_ = Clock::now();
  std::vector<ComparedFilePtr> left;
  for (size_t i = 0; i < summing_.size(); ++i) {
    const ComparedFilePtr file = summing_[i];
    if (file->state != ComparedFile::State::kSumming) continue;  // nobody wants it any more
    const bool ended = file->session->ended();
    if (i >= ready && !ended) {
      left.push_back(file);
      continue;
    }
    file->session->release();
    if (ended) {
      queue_again(file);
    } else if (file->sums->damaged()) {
      file->state = ComparedFile::State::kQueued;  // the session was let go of
      finish(file, Error(Errc::kCorrupt, "what is here is damaged"));
    } else {
      request(file);
    }
  }
  summing_ = std::move(left);
  if (!summing_.empty()) sum_more();
  pump();
}

void SourceComparison::request(const ComparedFilePtr& file) {
  file->state = ComparedFile::State::kRequested;
  file->requested = true;
  file->sequence = ++sequence_;
  // A server sends when its buffer is full, or nothing is left to do.
  const uint64_t reads = file->session->outstanding_bytes() + file->target.size;
  const std::chrono::milliseconds silence(reads * 1000 / kServerReadsBytesPerSecond);
  file->session->request_delta(file->ndx, file->sums->sums(), *file, silence, file->target.size);
}

void SourceComparison::refuted(ComparedFile& file) {
  // What is left of a small one comes soon. There is no other way to stop a server in the middle of a file;
  // what else was asked of it is asked again.
  if (file.is_small() || file.session != session_) return;
  context_.loop.post([this, alive = alive_, late = file.shared_from_this()] {
    if (!*alive || closing_ || !late->is_awaited()) return;
    if (late->state == ComparedFile::State::kRequested) judge(late);
    late->session->fail(Error(Errc::kCanceled, "a file differs"));
  });
}

void SourceComparison::answered(ComparedFile& answered_file, FileEnd end) {
  const ComparedFilePtr file = answered_file.shared_from_this();
  last_progress_ = Clock::now();
  file->requested = false;
  file->session->request_done(file->target.size);
  if (file->state != ComparedFile::State::kRequested) return;
  const bool declined = end.status == FileEnd::Status::kNotSent;
  const bool equal = end.status == FileEnd::Status::kGood && end.size == file->target.size &&
                     end.digest == file->sums->digest();
  if (equal) {
    finish(file, Comparison::kEqual);
  } else if (declined && end.reason.code() != Errc::kVanished) {
    finish(file, end.reason);
  } else {
    judge(file);
  }
  pump();
}

// The bytes are others: is it still the same version?
void SourceComparison::judge(const ComparedFilePtr& file) {
  file->state = ComparedFile::State::kRevalidating;
  if (!is_as_before(*file)) return finish(file, Comparison::kChanged);
  lister_.revalidate(file->target, [this, alive = alive_, file](const Result<FileTarget>& now) {
    if (!*alive || file->state != ComparedFile::State::kRevalidating) return;
    last_progress_ = Clock::now();
    if (now) {
      const bool same = now->version() == file->target.version() && is_as_before(*file);
      finish(file, same ? Comparison::kDiffers : Comparison::kChanged);
    } else if (now.error().code() == Errc::kVanished || now.error().code() == Errc::kChanged) {
      finish(file, now.error().code() == Errc::kVanished ? Comparison::kGone : Comparison::kChanged);
    } else {
      finish(file, now.error());
    }
  });
}

// What users write, and what is pushed of it, makes another content of it at any time.
bool SourceComparison::is_as_before(const ComparedFile& file) const {
  const NodeId node = file.target.node;
  if (context_.replica.local().dirty(node)) return false;
  const auto base = context_.replica.pending().base_of(node);
  if (!base || !base->present || base->foreign) return false;
  return FileVersion{base->attr.size, base->attr.mtime_s, base->attr.mtime_ns} == file.target.version();
}

// Requests on sessions that are gone are made again. When one broke, the oldest is the one that may be the
// reason, and is not tried for ever.
void SourceComparison::recover_lost() {
  std::unordered_map<const RemoteSession*, ComparedFilePtr> oldest;
  std::vector<ComparedFilePtr> lost;
  for (const auto& [id, file] : files_) {
    if (file->state != ComparedFile::State::kRequested || !file->session->ended()) continue;
    lost.push_back(file);
    ComparedFilePtr& first = oldest[file->session.get()];
    if (!first || file->sequence < first->sequence) first = file;
  }
  for (const ComparedFilePtr& file : lost) {
    const auto broken = file->session->broken();
    const bool suspect = broken && oldest[file->session.get()] == file;
    if (suspect && ++file->attempts >= kMaxAttempts) {
      finish(file, *broken);
    } else {
      queue_again(file);
    }
  }
}

void SourceComparison::queue_again(const ComparedFilePtr& file) {
  file->state = ComparedFile::State::kQueued;
  file->session = nullptr;
  file->sums = nullptr;
  file->requested = false;
  queued_.push_back(file);
}

void SourceComparison::finish(const ComparedFilePtr& file, Result<Comparison> result) {
  const auto before = std::exchange(file->state, ComparedFile::State::kOver);
  if (before == ComparedFile::State::kOver) return;
  files_.erase(file->waiter.id);
  if (before == ComparedFile::State::kSumming) std::exchange(file->session, nullptr)->release();
  if (file->is_awaited()) lingering_.push_back(file);
  if (result && *result != Comparison::kEqual) {
    log_info("not as the source has it: " + file->target.path);
    if (*result != Comparison::kDiffers) lister_.refresh(file->target.parent, file->target.directory());
  }
  Done<Comparison> done = std::move(file->waiter.done);
  done(std::move(result));
}

void SourceComparison::expire(Clock::time_point now) {
  // What a session works on has that session's limits, and what waits behind it has time.
  const bool at_work = std::any_of(files_.begin(), files_.end(), [](const auto& item) {
    return item.second->state != ComparedFile::State::kQueued;
  });
  if (at_work) last_progress_ = now;
  std::vector<ComparedFilePtr> late;
  for (const ComparedFilePtr& file : queued_) {
    file->waiter.deadline = std::max(file->waiter.deadline, last_progress_ + context_.options.timeout);
    if (now >= file->waiter.deadline) late.push_back(file);
  }
  const Error why = pool_.link().failure(context_.patience());
  for (const ComparedFilePtr& file : late) {
    queued_.remove(file);
    finish(file, why);
  }
}

bool SourceComparison::cancel(RequestId id) {
  const auto found = files_.find(id);
  if (found == files_.end()) return false;
  const ComparedFilePtr file = found->second;
  queued_.remove(file);
  const bool own = file->is_awaited() && file->session == session_ && !file->is_small();
  finish(file, Error(Errc::kCanceled, "interrupted"));
  if (own) file->session->fail(Error(Errc::kCanceled, "a file need not be compared"));
  return true;
}

void SourceComparison::link_failed(bool hopeless) {
  if (!hopeless) return;
  const Error why = pool_.link().failure(context_.patience());
  const auto all = std::exchange(queued_, {});
  for (const ComparedFilePtr& file : all) finish(file, why);
}

void SourceComparison::fail_everything(const Error& why) {
  closing_ = true;
  queued_.clear();
  const auto all = files_;
  for (const auto& [id, file] : all) finish(file, why);
  lingering_.clear();  // all sessions end now
}

}  // namespace rsyncfs
