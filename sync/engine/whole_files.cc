// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/whole_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace rsyncfs {

namespace {

constexpr unsigned kMaxAttempts = 3;
// Connections that a request may lose before it counts as their reason: a bad line loses some of any.
constexpr unsigned kMaxLostConnections = 10;
// Requested and unanswered on one session. A demanded file is never behind more than this.
constexpr uint64_t kSessionWindowBytes = 4 << 20;
constexpr size_t kSessionWindowFiles = 512;

// A lost connection says less of the request than an answer that never comes, or nonsense.
bool may_lose_another(WholeFile& file, const Error& why) {
  return why.code() == Errc::kDisconnected && ++file.lost_connections < kMaxLostConnections;
}

}  // namespace

WholeFiles::WholeFiles(const EngineContext& context, SessionPool& pool, Lister& lister, LargeFiles& large,
                       FetchTotals& totals)
    : context_(context),
      pool_(pool),
      lister_(lister),
      large_(large),
      totals_(totals),
      store_(context, [this](const auto& batch, const auto& result) { stored(batch, result); }),
      neighbours_(
          context, [this](std::vector<FileTarget> targets) { bring_ahead(std::move(targets)); },
          [this] { forget_ahead(); }) {}

WholeFiles::~WholeFiles() = default;

void WholeFiles::read(RequestId id, FileTarget target, uint64_t offset, uint32_t length,
                      Done<ReadBytes> done) {
  const auto now = Clock::now();
  files_.contains(target.node) ? neighbours_.note_read(target.node) : neighbours_.note_miss(target, now);
  const WholeFilePtr file = obtain(std::move(target), true);
  WholeFile::Reader reader;
  reader.id = id;
  reader.since = now;
  reader.deadline = now + context_.options.timeout;
  reader.offset = offset;
  reader.length = length;
  reader.done = std::move(done);
  if (file->state == WholeFile::State::kComplete) {
    if (show(file)) {
      file->answer(reader);
    } else {
      reader.done(Error(Errc::kChanged, "the file was replaced on the source"));
    }
    return;
  }
  file->readers.push_back(std::move(reader));
}

bool WholeFiles::show(const WholeFilePtr& file) {
  file->shown = file->shown || context_.may_show(file->target);
  return file->shown;
}

void WholeFiles::hydrate(RequestId id, FileTarget target, Done<void> done) {
  const auto now = Clock::now();
  const WholeFilePtr file = obtain(std::move(target), true);
  file->hydrators.push_back({id, now, now + context_.options.timeout, std::move(done)});
}

WholeFilePtr WholeFiles::obtain(FileTarget target, bool demanded) {
  WholeFilePtr& slot = files_[target.node];
  if (!slot) {
    slot = std::make_shared<WholeFile>(*this, std::move(target));
    slot->demanded = demanded;
    (demanded ? demanded_ : ahead_).push_back(slot);
  } else if (demanded && !slot->demanded) {
    slot->demanded = true;
    if (slot->state == WholeFile::State::kQueued) {
      ahead_.remove(slot);
      demanded_.push_back(slot);
    }
  }
  return slot;
}

void WholeFiles::pump() {
  if (pumping_) return;  // opening a session may end another, which comes back here
  pumping_ = true;
  if (ended_seen_ != pool_.ended_count()) {
    ended_seen_ = pool_.ended_count();
    recover_lost();
  }
  for (auto it = demanded_.begin(); it != demanded_.end();) {
    const WholeFilePtr file = *it;
    if (dispatch(file)) {
      it = demanded_.erase(it);
    } else {
      if (file->expecting == nullptr) open_directory(file);
      ++it;
    }
  }
  while (!ahead_.empty()) {
    const WholeFilePtr file = ahead_.front();
    if (dispatch(file)) {
      ahead_.pop_front();
      continue;
    }
    const FileTarget& target = file->target;
    if (pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, UINT64_MAX).session) break;
    drop_ahead(file);  // no session lists it any more, and nobody waits
  }
  pumping_ = false;
}

void WholeFiles::drop_ahead(const WholeFilePtr& file) {
  neighbours_.drop(file->target.node);
  ahead_.remove(file);
  files_.erase(file->target.node);
}

void WholeFiles::bring_ahead(std::vector<FileTarget> targets) {
  for (auto& target : targets) {
    if (files_.contains(target.node)) {
      neighbours_.drop(target.node);
    } else {
      obtain(std::move(target), false);
    }
  }
  pump();
}

// What was not asked for yet is not asked for.
void WholeFiles::forget_ahead() {
  for (const auto& file : std::exchange(ahead_, {})) files_.erase(file->target.node);
}

// Requests that were on sessions that are gone are made again. When a server stopped answering, or a session
// broke, the oldest request is the one that may be the reason: it goes to the end, and is not tried for ever.
void WholeFiles::recover_lost() {
  std::unordered_map<const RemoteSession*, WholeFilePtr> oldest;
  std::vector<WholeFilePtr> lost;
  for (const auto& [node, file] : files_) {
    if (file->state != WholeFile::State::kRequested || !file->session->ended()) continue;
    lost.push_back(file);
    WholeFilePtr& first = oldest[file->session.get()];
    if (!first || file->sequence < first->sequence) first = file;
  }
  std::sort(lost.begin(), lost.end(), [](const auto& a, const auto& b) { return a->sequence < b->sequence; });
  std::vector<std::pair<WholeFilePtr, Error>> suspects;
  std::vector<WholeFilePtr> outgrown;
  for (const auto& file : lost) {
    const auto broken = file->session->broken();
    const bool suspect = broken && oldest[file->session.get()] == file;
    file->session.reset();
    file->state = WholeFile::State::kQueued;
    file->bytes->clear();
    if (!file->demanded) {
      drop_ahead(file);
    } else if (file->outgrown) {
      outgrown.push_back(file);
    } else if (!suspect || may_lose_another(*file, *broken)) {
      --file->attempts;
      demanded_.push_back(file);
    } else {
      suspects.emplace_back(file, *broken);
    }
  }
  for (const auto& file : outgrown) {
    file->outgrown = false;
    revalidate(file);
  }
  for (const auto& [file, why] : suspects) {
    demanded_.push_back(file);
    if (file->attempts >= kMaxAttempts || why.code() == Errc::kDisconnected) fail(file, why);
  }
}

// Puts the request on a session that lists the file in the wanted version. False: none has room, or none
// lists it.
bool WholeFiles::dispatch(const WholeFilePtr& file) {
  if (store_.full()) return false;
  const FileTarget& target = file->target;
  auto found =
      pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, kSessionWindowBytes);
  if (!found.session || found.session->outstanding() >= kSessionWindowFiles) return false;
  const uint64_t outstanding = found.session->outstanding_bytes() + target.size + kAheadOverheadBytes;
  const uint64_t window = found.session->window().bytes();
  // Read-ahead gives way: fewer bytes under way, so that a demanded file gets in between.
  if (!file->demanded && outstanding > window && found.session->outstanding() > 0) return false;
  file->requested_at = Clock::now();
  file->filled_window = outstanding > window / 2;
  file->state = WholeFile::State::kRequested;
  file->session = found.session;
  file->sequence = ++sequence_;
  file->expecting = nullptr;
  file->bytes->clear();
  file->booked_bytes = target.size;
  ++file->attempts;
  // Answers come in order: what is ahead of a demanded file is waited for as well.
  if (file->demanded || found.session->outstanding() == 0)
    found.session->set_urgency(file->demanded ? Urgency::kReadMiss : Urgency::kReadAhead);
  found.session->request_file(found.ndx, *file, target.size,
                              file->demanded ? WirePurpose::kRead : WirePurpose::kReadAhead);
  return true;
}

// No session lists the file: one over its directory brings fresh names and then serves it and its neighbours.
void WholeFiles::open_directory(const WholeFilePtr& file) {
  // One that lists it and is merely full will have room soon.
  if (!pool_.find_entry(file->target.path).empty() && file->attempts == 0) {
    const auto& target = file->target;
    if (pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, UINT64_MAX).session)
      return;
  }
  const std::string directory = file->target.directory();
  for (const auto& [session, path] : opening_) {
    if (path != directory) continue;
    file->expecting = session;
    return;
  }
  SessionSpec spec;
  spec.paths.push_back(directory.empty() ? "./" : directory + "/");
  spec.demanded = true;
  const auto session = pool_.open(std::move(spec), *this);
  if (!session) return;
  opening_[session.get()] = directory;
  file->expecting = session.get();
}

void WholeFiles::session_listed(RemoteSession& session) {
  opening_.erase(&session);
  std::vector<WholeFilePtr> gone;
  std::vector<WholeFilePtr> changed;
  for (const auto& file : demanded_) {
    if (file->expecting != &session) continue;
    file->expecting = nullptr;
    const auto ndx = session.list().find(file->target.path);
    const FileEntry* entry = ndx ? &session.list().entry(*ndx) : nullptr;
    if (entry == nullptr || entry->mode == 0) {
      gone.push_back(file);
    } else if (!file->target.matches(*entry)) {
      changed.push_back(file);
    }
  }
  for (const auto& file : gone) fail(file, Error(Errc::kVanished, "the file is gone from the source"));
  for (const auto& file : changed) revalidate(file);
  pump();
}

// The source has another version than the Replica. If nobody has seen a byte of the old one, the node takes
// the new.
void WholeFiles::revalidate(const WholeFilePtr& file) {
  if (file->attempts++ >= kMaxAttempts) {
    fail(file, Error(Errc::kChanged, "the file keeps changing on the source"));
    return;
  }
  demanded_.remove(file);
  file->state = WholeFile::State::kRevalidating;
  lister_.revalidate(file->target, [this, file](Result<FileTarget> now) {
    if (file->state != WholeFile::State::kRevalidating) return;
    file->state = WholeFile::State::kQueued;
    if (!now) {
      fail(file, now.error());
      return;
    }
    if (now->size < file->target.size) {  // the kernel waits for bytes that are no more
      fail(file, Error(Errc::kChanged, "the file became shorter on the source"));
      return;
    }
    file->target = std::move(*now);
    if (file->target.size > kMaxWholeFileBytes) {
      hand_over(file);
      return;
    }
    queue_again(file);
    pump();
  });
}

// Though it may have begun as read-ahead: where it was in that queue is lost.
void WholeFiles::queue_again(const WholeFilePtr& file) {
  file->state = WholeFile::State::kQueued;
  file->demanded = true;
  file->bytes->clear();
  demanded_.push_back(file);
}

// It has become a large one.
void WholeFiles::hand_over(const WholeFilePtr& file) {
  file->state = WholeFile::State::kFailed;
  files_.erase(file->target.node);
  for (auto& reader : std::exchange(file->readers, {}))
    large_.read(reader.id, file->target, reader.offset, reader.length, std::move(reader.done));
  for (auto& waiter : std::exchange(file->hydrators, {}))
    large_.hydrate(waiter.id, file->target, std::move(waiter.done));
}

void WholeFiles::session_drained(RemoteSession& /*session*/) {
  pump();
}

void WholeFiles::session_ended(RemoteSession& session, const Error& why) {
  opening_.erase(&session);
  const bool about_path = why.code() == Errc::kNotFound || why.code() == Errc::kPermission ||
                          why.code() == Errc::kAuth || why.code() == Errc::kNotDirectory ||
                          (why.code() == Errc::kOs && session.established());
  // Others may come all the while: a directory that cannot be listed is not tried for ever.
  const bool counts =
      session.established() && (why.code() == Errc::kTimedOut || why.code() == Errc::kProtocol ||
                                why.code() == Errc::kLimit || why.code() == Errc::kDisconnected);
  std::vector<WholeFilePtr> failed;
  for (const auto& file : demanded_) {
    if (file->expecting != &session) continue;
    file->expecting = nullptr;
    const bool hopeless = counts && !may_lose_another(*file, why) && ++file->attempts >= kMaxAttempts;
    if (about_path || hopeless) failed.push_back(file);
  }
  for (const auto& file : failed) fail(file, why);
}

void WholeFiles::delivered(WholeFile& file) {
  last_delivery_ = Clock::now();
  if (file.session) file.session->note_delivery(last_delivery_);
  if (!file.outgrown) return;
  // There is no other way to stop a server in the middle of a file; the other requests are made again.
  context_.loop.post([late = file.shared_from_this()] {
    if (late->outgrown && late->session)
      late->session->fail(Error(Errc::kCanceled, "a file is far too large"));
  });
}

void WholeFiles::received(const WholeFilePtr& file, FileEnd end) {
  file->session->request_done(file->booked_bytes);
  const auto now = Clock::now();
  file->session->window().answered(now, now - file->requested_at, file->bytes->size() + kAheadOverheadBytes,
                                   file->filled_window);
  file->digest_name = checksum_name(file->session->checksum());
  file->session.reset();
  switch (end.status) {
    case FileEnd::Status::kGood:
      finished(file, std::move(end));
      break;
    case FileEnd::Status::kNotSent:
      fail(file, end.reason);
      break;
    case FileEnd::Status::kBadDigest:
      if (std::exchange(file->outgrown, false)) {
        revalidate(file);
        break;
      }
      retry(file, Error(Errc::kCorrupt, "the file changed while it was read, or the source cannot read it"));
      break;
  }
  pump();
}

void WholeFiles::retry(const WholeFilePtr& file, const Error& why) {
  if (file->attempts >= kMaxAttempts) {
    fail(file, why);
    return;
  }
  queue_again(file);
}

void WholeFiles::fail(const WholeFilePtr& file, const Error& why) {
  neighbours_.drop(file->target.node);
  if (file->state == WholeFile::State::kQueued) {
    demanded_.remove(file);
    ahead_.remove(file);
  }
  file->state = WholeFile::State::kFailed;
  files_.erase(file->target.node);
  if (file->wanted()) totals_.note_failure(file->target.path, why);
  // The stored names are out of date.
  if (why.code() == Errc::kVanished || why.code() == Errc::kChanged || why.code() == Errc::kCorrupt) {
    lister_.refresh(file->target.parent, file->target.directory());
  }
  fail_all(file->readers, why);
  fail_all(file->hydrators, why);
}

void WholeFiles::finished(const WholeFilePtr& file, FileEnd end) {
  // Longer than was listed: under the listed size it would be read cut short, so the kernel must hear of the
  // new size before it gets the bytes. Shorter: a short answer tells the kernel the size by itself, if
  // nothing is said before (a size that is revoked in between would be filled up with zeros). A file that
  // grows all the time is given as long as it was.
  const bool grew = file->bytes->size() > file->target.size;
  const bool again = grew && file->wanted() && file->attempts < kMaxAttempts;
  if (again || (!file->readers.empty() && !show(file))) {
    file->bytes->clear();
    revalidate(file);
    return;
  }
  file->state = WholeFile::State::kComplete;
  file->outcome = std::move(end);
  ++totals_.files;
  totals_.bytes += file->bytes->size();
  auto readers = std::exchange(file->readers, {});
  for (auto& reader : readers) file->answer(reader);
  store_.add(file);
}

void WholeFiles::stored(const WholeStore::Batch& batch, const Result<void>& result) {
  for (const auto& file : batch) {
    files_.erase(file->target.node);
    if (!result) totals_.note_failure(file->target.path, result.error());
    auto hydrators = std::exchange(file->hydrators, {});
    for (auto& waiter : hydrators) waiter.done(result);
    if (file->bytes->size() != file->target.size) {
      context_.events.on_content_changed(file->target.node);
      lister_.refresh(file->target.parent, file->target.directory());
    }
  }
  pump();
}

void WholeFiles::expire(Clock::time_point now) {
  neighbours_.tick(now);
  std::vector<WholeFile::Reader> late;
  std::vector<Waiter<void>> late_hydrators;
  for (auto it = files_.begin(); it != files_.end();) {
    const WholeFilePtr file = it->second;
    ++it;
    // One that is queued gets its turn when others have come; one that was requested, when those before it on
    // the same session have. So a server that chokes on it is told from one that is busy.
    const bool requested = file->state == WholeFile::State::kRequested;
    const auto progress = requested ? file->session->last_delivery() : last_delivery_;
    renew_all(file->readers, progress, context_.options.timeout);
    renew_all(file->hydrators, progress, context_.options.timeout);
    auto readers = take_if(file->readers, [now](const auto& w) { return now >= w.deadline; });
    auto hydrators = take_if(file->hydrators, [now](const auto& w) { return now >= w.deadline; });
    if (readers.empty() && hydrators.empty()) continue;
    totals_.timed_out += readers.size() + hydrators.size();
    std::move(readers.begin(), readers.end(), std::back_inserter(late));
    std::move(hydrators.begin(), hydrators.end(), std::back_inserter(late_hydrators));
    if (!file->wanted()) abandon(file);
  }
  const Error why = pool_.link().failure(context_.patience());
  fail_all(late, why);
  fail_all(late_hydrators, why);
}

// Nobody waits for it any more: one that was not requested yet goes.
void WholeFiles::abandon(const WholeFilePtr& file) {
  if (file->state != WholeFile::State::kQueued) return;
  demanded_.remove(file);
  files_.erase(file->target.node);
}

bool WholeFiles::cancel(RequestId id) {
  for (auto& [node, file] : files_) {
    auto readers = take_if(file->readers, [id](const auto& w) { return w.id == id; });
    auto hydrators = take_if(file->hydrators, [id](const auto& w) { return w.id == id; });
    if (readers.empty() && hydrators.empty()) continue;
    if (!file->wanted()) abandon(WholeFilePtr(file));
    const Error why(Errc::kCanceled, "interrupted");
    fail_all(readers, why);
    fail_all(hydrators, why);
    return true;
  }
  return false;
}

void WholeFiles::link_failed(bool hopeless) {
  // Requests on sessions that are gone were lost with them.
  std::vector<WholeFilePtr> queued;
  for (const auto& [node, file] : files_) {
    if (hopeless && file->state == WholeFile::State::kQueued) queued.push_back(file);
  }
  const Error why = pool_.link().failure(context_.patience());
  for (const auto& file : queued) fail(file, why);
}

void WholeFiles::fail_everything(const Error& why) {
  std::vector<WholeFilePtr> all;
  for (const auto& [node, file] : files_) {
    if (file->state != WholeFile::State::kComplete) all.push_back(file);
  }
  for (const auto& file : all) fail(file, why);
  store_.flush();
}

bool WholeFiles::waiting() const {
  return std::any_of(files_.begin(), files_.end(), [](const auto& item) { return item.second->wanted(); }) ||
         !demanded_.empty();
}

size_t WholeFiles::waiting_count() const {
  size_t count = 0;
  for (const auto& [node, file] : files_) count += file->readers.size() + file->hydrators.size();
  return count;
}

void WholeFiles::add_transfers(std::vector<TransferStatus>& out) const {
  for (const auto& [node, file] : files_) {
    if (file->state == WholeFile::State::kRequested)
      out.push_back({file->target.path, file->bytes->size(), file->target.size});
  }
}

}  // namespace rsyncfs
