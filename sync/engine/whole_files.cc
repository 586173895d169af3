// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/whole_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace rsyncfs {

namespace {

constexpr unsigned kMaxAttempts = 3;
// Requested and unanswered on one session. A demanded file is never behind more than this.
constexpr uint64_t kSessionWindowBytes = 4 << 20;
constexpr size_t kSessionWindowFiles = 256;
// Read-ahead gives way: fewer bytes under way, so that a demanded file gets in between.
constexpr uint64_t kAheadWindowBytes = 1 << 20;
constexpr uint64_t kAheadBudgetBytes = 16 << 20;
// A file that grew since it was listed is taken as it is up to this size, otherwise listed anew.
constexpr uint64_t kMaxGrownBytes = 4 * kMaxWholeFileBytes;
constexpr size_t kBatchFiles = 128;
constexpr std::chrono::milliseconds kBatchDelay{10};
constexpr uint64_t kMaxUnsavedBytes = 64 << 20;  // more than this waits for the disk: requests stop

}  // namespace

// One file on its way.
class WholeFiles::Fetch final : public FileSink, public std::enable_shared_from_this<WholeFiles::Fetch> {
 public:
  struct Reader : Waiter<ReadBytes> {
    uint64_t offset = 0;
    uint32_t length = 0;
  };
  enum class State : uint8_t { kQueued, kRequested, kRevalidating, kComplete, kFailed };

  Fetch(WholeFiles& owner, FileTarget wanted) : target(std::move(wanted)), owner_(owner) {}

  Result<void> literal(uint64_t offset, std::span<const std::byte> data) override {
    if (offset + data.size() > kMaxGrownBytes)
      return Error(Errc::kChanged, "the file grew while it was read");
    if (bytes->capacity() == 0) bytes->reserve(std::min(target.size, kMaxGrownBytes));
    bytes->insert(bytes->end(), data.begin(), data.end());
    return {};
  }
  Result<std::span<const std::byte>> copy(uint64_t, uint64_t, uint32_t) override {
    return Error(Errc::kProtocol, "the server refers to blocks that were not offered");
  }
  void done(FileEnd end) override { owner_.received(shared_from_this(), std::move(end)); }

  bool wanted_now() const { return !readers.empty() || !hydrators.empty(); }

  FileTarget target;
  State state = State::kQueued;
  bool demanded = false;
  bool counted_ahead = false;
  unsigned attempts = 0;
  std::shared_ptr<RemoteSession> session;    // kRequested
  uint64_t booked_bytes = 0;                 // on that session
  uint64_t sequence = 0;                     // order of requests
  const RemoteSession* expecting = nullptr;  // kQueued: a directory session being opened for it
  std::shared_ptr<std::vector<std::byte>> bytes = std::make_shared<std::vector<std::byte>>();
  std::vector<Reader> readers;
  std::vector<Waiter<void>> hydrators;
  FileEnd outcome;

  void answer(Reader& reader) {
    const uint64_t size = bytes->size();
    const uint64_t begin = std::min<uint64_t>(reader.offset, size);
    const uint64_t count = std::min<uint64_t>(reader.length, size - begin);
    reader.done(ReadBytes{bytes, std::span<const std::byte>(*bytes).subspan(begin, count)});
  }

 private:
  WholeFiles& owner_;
};

WholeFiles::WholeFiles(const EngineContext& context, SessionPool& pool, Lister& lister, FetchTotals& totals)
    : context_(context), pool_(pool), lister_(lister), totals_(totals), neighbours_(context) {}

WholeFiles::~WholeFiles() {
  if (flush_timer_ != 0) context_.loop.cancel_timer(flush_timer_);
}

void WholeFiles::read(RequestId id, FileTarget target, uint64_t offset, uint32_t length,
                      Done<ReadBytes> done) {
  const auto now = Clock::now();
  const bool known = fetches_.contains(target.node);
  if (!known && neighbours_.note_miss(target, now)) read_ahead(target);
  const FetchPtr fetch = obtain(std::move(target), true);
  Fetch::Reader reader;
  reader.id = id;
  reader.since = now;
  reader.deadline = now + context_.options.timeout;
  reader.offset = offset;
  reader.length = length;
  reader.done = std::move(done);
  if (fetch->state == Fetch::State::kComplete) {
    fetch->answer(reader);
    return;
  }
  fetch->readers.push_back(std::move(reader));
}

void WholeFiles::hydrate(RequestId id, FileTarget target, Done<void> done) {
  const auto now = Clock::now();
  const FetchPtr fetch = obtain(std::move(target), true);
  fetch->hydrators.push_back({id, now, now + context_.options.timeout, std::move(done)});
}

WholeFiles::FetchPtr WholeFiles::obtain(FileTarget target, bool demanded) {
  FetchPtr& slot = fetches_[target.node];
  if (!slot) {
    slot = std::make_shared<Fetch>(*this, std::move(target));
    slot->demanded = demanded;
    (demanded ? demanded_ : ahead_).push_back(slot);
    if (!demanded) {
      slot->counted_ahead = true;
      ahead_bytes_ += slot->target.size;
    }
  } else if (demanded && !slot->demanded) {
    slot->demanded = true;
    if (slot->state == Fetch::State::kQueued) {
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
    const FetchPtr fetch = *it;
    if (dispatch(fetch)) {
      it = demanded_.erase(it);
    } else {
      if (fetch->expecting == nullptr) open_directory(fetch);
      ++it;
    }
  }
  while (!ahead_.empty()) {
    const FetchPtr fetch = ahead_.front();
    if (dispatch(fetch)) {
      ahead_.pop_front();
      continue;
    }
    const FileTarget& target = fetch->target;
    if (pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, UINT64_MAX).session) break;
    drop_ahead(fetch);  // no session lists it any more, and nobody waits
  }
  pumping_ = false;
}

void WholeFiles::drop_ahead(const FetchPtr& fetch) {
  if (fetch->counted_ahead) ahead_bytes_ -= fetch->target.size;
  fetch->counted_ahead = false;
  ahead_.remove(fetch);
  fetches_.erase(fetch->target.node);
}

// Requests that were on sessions that are gone are made again. When a server stopped answering, the oldest
// request is the one it may have choked on: that one goes to the end, and is not tried for ever.
void WholeFiles::recover_lost() {
  std::unordered_map<const RemoteSession*, FetchPtr> oldest;
  std::vector<FetchPtr> lost;
  for (const auto& [node, fetch] : fetches_) {
    if (fetch->state != Fetch::State::kRequested || !fetch->session->ended()) continue;
    lost.push_back(fetch);
    FetchPtr& first = oldest[fetch->session.get()];
    if (!first || fetch->sequence < first->sequence) first = fetch;
  }
  std::sort(lost.begin(), lost.end(), [](const auto& a, const auto& b) { return a->sequence < b->sequence; });
  std::vector<FetchPtr> suspects;
  for (const auto& fetch : lost) {
    const bool suspect = fetch->session->stalled() && oldest[fetch->session.get()] == fetch;
    fetch->session.reset();
    fetch->state = Fetch::State::kQueued;
    fetch->bytes->clear();
    if (!fetch->demanded) {
      drop_ahead(fetch);
    } else if (!suspect) {
      --fetch->attempts;
      demanded_.push_back(fetch);
    } else {
      suspects.push_back(fetch);
    }
  }
  for (const auto& fetch : suspects) {
    demanded_.push_back(fetch);
    if (fetch->attempts >= kMaxAttempts) {
      fail(fetch, Error(Errc::kTimedOut, "the server does not answer for this file").with_errno(ETIMEDOUT));
    }
  }
}

// Puts the request on a session that lists the file in the wanted version. False: none has room, or none
// lists it.
bool WholeFiles::dispatch(const FetchPtr& fetch) {
  if (unsaved_bytes_ > kMaxUnsavedBytes) return false;
  const FileTarget& target = fetch->target;
  const auto window = fetch->demanded ? kSessionWindowBytes : kAheadWindowBytes;
  auto found = pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, window);
  if (!found.session || found.session->outstanding() >= kSessionWindowFiles) return false;
  fetch->state = Fetch::State::kRequested;
  fetch->session = found.session;
  fetch->sequence = ++sequence_;
  fetch->expecting = nullptr;
  fetch->bytes->clear();
  fetch->booked_bytes = target.size;
  ++fetch->attempts;
  found.session->request_file(found.ndx, *fetch, target.size);
  return true;
}

// No session lists the file: one over its directory brings fresh names and then serves it and its neighbours.
void WholeFiles::open_directory(const FetchPtr& fetch) {
  // One that lists it and is merely full will have room soon.
  if (!pool_.find_entry(fetch->target.path).empty() && fetch->attempts == 0) {
    const auto& target = fetch->target;
    if (pool_.find_file(target.path, target.size, target.mtime_s, target.mtime_ns, UINT64_MAX).session)
      return;
  }
  const std::string directory = fetch->target.directory();
  for (const auto& [session, path] : opening_) {
    if (path != directory) continue;
    fetch->expecting = session;
    return;
  }
  SessionSpec spec;
  spec.paths.push_back(directory.empty() ? "./" : directory + "/");
  spec.demanded = true;
  const auto session = pool_.open(std::move(spec), *this);
  if (!session) return;
  opening_[session.get()] = directory;
  fetch->expecting = session.get();
}

void WholeFiles::session_listed(RemoteSession& session) {
  opening_.erase(&session);
  std::vector<FetchPtr> gone;
  std::vector<FetchPtr> changed;
  for (const auto& fetch : demanded_) {
    if (fetch->expecting != &session) continue;
    fetch->expecting = nullptr;
    const auto ndx = session.list().find(fetch->target.path);
    const FileEntry* entry = ndx ? &session.list().entry(*ndx) : nullptr;
    if (entry == nullptr || entry->mode == 0) {
      gone.push_back(fetch);
    } else if (!fetch->target.matches(*entry)) {
      changed.push_back(fetch);
    }
  }
  for (const auto& fetch : gone) fail(fetch, Error(Errc::kVanished, "the file is gone from the source"));
  for (const auto& fetch : changed) revalidate(fetch);
  pump();
}

// The source has another version than the Replica. If nobody has seen a byte of the old one, the node takes
// the new.
void WholeFiles::revalidate(const FetchPtr& fetch) {
  if (fetch->attempts++ >= kMaxAttempts) {
    fail(fetch, Error(Errc::kChanged, "the file keeps changing on the source"));
    return;
  }
  demanded_.remove(fetch);
  fetch->state = Fetch::State::kRevalidating;
  lister_.revalidate(fetch->target, [this, fetch](Result<FileTarget> now) {
    if (fetch->state != Fetch::State::kRevalidating) return;
    fetch->state = Fetch::State::kQueued;
    if (!now) {
      fail(fetch, now.error());
      return;
    }
    if (now->size < fetch->target.size) {  // the kernel waits for bytes that are no more
      fail(fetch, Error(Errc::kChanged, "the file became shorter on the source"));
      return;
    }
    fetch->target = std::move(*now);
    demanded_.push_back(fetch);
    pump();
  });
}

void WholeFiles::session_drained(RemoteSession& /*session*/) {
  pump();
}

void WholeFiles::session_ended(RemoteSession& session, const Error& why) {
  opening_.erase(&session);
  const bool about_path = why.code() == Errc::kNotFound || why.code() == Errc::kPermission ||
                          why.code() == Errc::kAuth || why.code() == Errc::kNotDirectory;
  std::vector<FetchPtr> failed;
  for (const auto& fetch : demanded_) {
    if (fetch->expecting != &session) continue;
    fetch->expecting = nullptr;
    if (about_path) failed.push_back(fetch);
  }
  for (const auto& fetch : failed) fail(fetch, why);
}

void WholeFiles::received(const FetchPtr& fetch, FileEnd end) {
  fetch->session->request_done(fetch->booked_bytes);
  fetch->session.reset();
  switch (end.status) {
    case FileEnd::Status::kGood:
      finished(fetch, std::move(end));
      break;
    case FileEnd::Status::kNotSent:
      fail(fetch, end.reason);
      break;
    case FileEnd::Status::kBadDigest:
      retry(fetch, Error(Errc::kCorrupt, "the file changed while it was read, or the source cannot read it"));
      break;
  }
  pump();
}

void WholeFiles::retry(const FetchPtr& fetch, const Error& why) {
  if (fetch->attempts >= kMaxAttempts) {
    fail(fetch, why);
    return;
  }
  fetch->state = Fetch::State::kQueued;
  fetch->bytes->clear();
  demanded_.push_back(fetch);
}

void WholeFiles::fail(const FetchPtr& fetch, const Error& why) {
  if (fetch->counted_ahead) ahead_bytes_ -= fetch->target.size;
  fetch->counted_ahead = false;
  if (fetch->state == Fetch::State::kQueued) {
    demanded_.remove(fetch);
    ahead_.remove(fetch);
  }
  fetch->state = Fetch::State::kFailed;
  fetches_.erase(fetch->target.node);
  if (fetch->wanted_now()) totals_.note_failure(fetch->target.path, why);
  // The stored names are out of date.
  if (why.code() == Errc::kVanished || why.code() == Errc::kChanged || why.code() == Errc::kCorrupt) {
    lister_.refresh(fetch->target.parent, fetch->target.directory());
  }
  fail_all(fetch->readers, why);
  fail_all(fetch->hydrators, why);
}

void WholeFiles::finished(const FetchPtr& fetch, FileEnd end) {
  // Longer than was listed: under the listed size it would be read cut short, so the kernel must hear of the
  // new size before it gets the bytes. Shorter: a short answer tells the kernel the size by itself, if
  // nothing is said before (a size that is revoked in between would be filled up with zeros). A file that
  // grows all the time is given as long as it was.
  if (fetch->bytes->size() > fetch->target.size && fetch->wanted_now() && fetch->attempts < kMaxAttempts) {
    fetch->bytes->clear();
    revalidate(fetch);
    return;
  }
  if (fetch->counted_ahead) ahead_bytes_ -= fetch->target.size;
  fetch->counted_ahead = false;
  fetch->state = Fetch::State::kComplete;
  fetch->outcome = std::move(end);
  ++totals_.files;
  totals_.bytes += fetch->bytes->size();
  auto readers = std::exchange(fetch->readers, {});
  for (auto& reader : readers) fetch->answer(reader);
  unsaved_.push_back(fetch);
  unsaved_bytes_ += fetch->bytes->size();
  if (unsaved_.size() >= kBatchFiles || unsaved_bytes_ > kMaxUnsavedBytes / 2) {
    flush_finished();
  } else {
    schedule_flush();
  }
}

void WholeFiles::schedule_flush() {
  if (flush_timer_ != 0) return;
  flush_timer_ = context_.loop.run_after(kBatchDelay, [this] {
    flush_timer_ = 0;
    flush_finished();
  });
}

void WholeFiles::flush_finished() {
  if (unsaved_.empty()) return;
  auto batch = std::make_shared<std::vector<FetchPtr>>(std::exchange(unsaved_, {}));
  const std::string digest_name = [&] {
    for (const auto& session : pool_.sessions()) {
      if (session->armed()) return std::string(checksum_name(session->checksum()));
    }
    return std::string("unknown");
  }();
  context_.store.post([this, batch, digest_name] {
    std::vector<Replica::FinishedContent> list;
    Result<void> result;
    for (const auto& fetch : *batch) {
      auto writer = context_.replica.create_content(fetch->target.node, fetch->bytes->size());
      if (!writer) {
        result = writer.error();
        break;
      }
      if (auto written = (*writer)->write(0, *fetch->bytes); !written) {
        result = written.error();
        break;
      }
      Replica::FinishedContent content;
      content.node = fetch->target.node;
      content.writer = std::move(*writer);
      content.size = fetch->bytes->size();
      content.digest_name = digest_name;
      content.version = fetch->target.version();
      if (fetch->outcome.digest) {
        const auto digest = fetch->outcome.digest->span();
        content.digest.assign(reinterpret_cast<const char*>(digest.data()),
                              digest.size());  // NOLINT: bytes as text
      }
      list.push_back(std::move(content));
    }
    if (result) result = context_.replica.finish_contents(std::move(list));
    context_.loop.post([this, batch, result = std::move(result)] { stored(*batch, result); });
  });
}

void WholeFiles::stored(const std::vector<FetchPtr>& batch, const Result<void>& result) {
  for (const auto& fetch : batch) {
    unsaved_bytes_ -= fetch->bytes->size();
    fetches_.erase(fetch->target.node);
    if (!result) totals_.note_failure(fetch->target.path, result.error());
    auto hydrators = std::exchange(fetch->hydrators, {});
    for (auto& waiter : hydrators) waiter.done(result);
    if (fetch->bytes->size() != fetch->target.size) {
      context_.events.on_content_changed(fetch->target.node);
      lister_.refresh(fetch->target.parent, fetch->target.directory());
    }
  }
  pump();
}

void WholeFiles::read_ahead(const FileTarget& after) {
  if (neighbours_.looking() || ahead_bytes_ > kAheadBudgetBytes / 2) return;
  neighbours_.find(after, [this](std::vector<FileTarget> targets) {
    for (auto& target : targets) {
      if (ahead_bytes_ + target.size > kAheadBudgetBytes) break;
      if (!fetches_.contains(target.node)) obtain(std::move(target), false);
    }
    pump();
  });
}

void WholeFiles::expire(Clock::time_point now) {
  std::vector<std::pair<FetchPtr, Error>> failed;
  std::vector<Fetch::Reader> late;
  std::vector<Waiter<void>> late_hydrators;
  for (auto it = fetches_.begin(); it != fetches_.end();) {
    const FetchPtr fetch = it->second;
    ++it;
    auto readers = take_if(fetch->readers, [now](const auto& w) { return now >= w.deadline; });
    auto hydrators = take_if(fetch->hydrators, [now](const auto& w) { return now >= w.deadline; });
    if (readers.empty() && hydrators.empty()) continue;
    totals_.timed_out += readers.size() + hydrators.size();
    std::move(readers.begin(), readers.end(), std::back_inserter(late));
    std::move(hydrators.begin(), hydrators.end(), std::back_inserter(late_hydrators));
    if (!fetch->wanted_now() && fetch->state == Fetch::State::kQueued) {
      demanded_.remove(fetch);
      fetches_.erase(fetch->target.node);
    }
  }
  const Error why = pool_.link().failure(context_.patience());
  fail_all(late, why);
  fail_all(late_hydrators, why);
}

bool WholeFiles::cancel(RequestId id) {
  for (auto& [node, fetch] : fetches_) {
    auto readers = take_if(fetch->readers, [id](const auto& w) { return w.id == id; });
    auto hydrators = take_if(fetch->hydrators, [id](const auto& w) { return w.id == id; });
    if (readers.empty() && hydrators.empty()) continue;
    if (!fetch->wanted_now() && fetch->state == Fetch::State::kQueued) {
      const FetchPtr abandoned = fetch;
      demanded_.remove(abandoned);
      fetches_.erase(abandoned->target.node);
    }
    const Error why(Errc::kCanceled, "interrupted");
    fail_all(readers, why);
    fail_all(hydrators, why);
    return true;
  }
  return false;
}

void WholeFiles::link_failed(bool hopeless) {
  // Requests on sessions that are gone were lost with them.
  std::vector<FetchPtr> queued;
  for (const auto& [node, fetch] : fetches_) {
    if (hopeless && fetch->state == Fetch::State::kQueued) queued.push_back(fetch);
  }
  const Error why = pool_.link().failure(context_.patience());
  for (const auto& fetch : queued) fail(fetch, why);
}

void WholeFiles::fail_everything(const Error& why) {
  std::vector<FetchPtr> all;
  for (const auto& [node, fetch] : fetches_) {
    if (fetch->state != Fetch::State::kComplete) all.push_back(fetch);
  }
  for (const auto& fetch : all) fail(fetch, why);
  flush_finished();
}

bool WholeFiles::waiting() const {
  return std::any_of(fetches_.begin(), fetches_.end(),
                     [](const auto& item) { return item.second->wanted_now(); }) ||
         !demanded_.empty();
}

size_t WholeFiles::waiting_count() const {
  size_t count = 0;
  for (const auto& [node, fetch] : fetches_) count += fetch->readers.size() + fetch->hydrators.size();
  return count;
}

void WholeFiles::add_transfers(std::vector<TransferStatus>& out) const {
  for (const auto& [node, fetch] : fetches_) {
    if (fetch->state == Fetch::State::kRequested)
      out.push_back({fetch->target.path, fetch->bytes->size(), fetch->target.size});
  }
}

}  // namespace rsyncfs
