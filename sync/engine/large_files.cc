// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/large_files.h"

#include <algorithm>
#include <cerrno>
#include <list>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

namespace {

constexpr unsigned kMaxAttempts = 3;
constexpr uint64_t kMaxUnstoredBytes = 32 << 20;  // received and not written: the stream waits for the disk
constexpr uint64_t kFirstAheadBytes = 1 << 20;    // a stream runs this far ahead of its readers, growing with
constexpr uint64_t kMostAheadBytes = 32 << 20;    // what was read from it
constexpr uint64_t kCommitBytes = 16 << 20;       // recorded at least this often, so that a crash loses less
constexpr uint64_t kMaxBeyondBytes = 16 << 20;  // what was appended meanwhile is read and dropped, up to this
constexpr size_t kMaxStreamsPerFile = 2;
constexpr uint64_t kWorthBytes = 8 << 20;  // a stream that would bring nothing new for this long is closed
// A file that came in one piece within this time is of the version that was listed when it began.
constexpr std::chrono::seconds kQuickly{5};
constexpr std::chrono::seconds kParkedFor{30};  // a file nobody reads is closed after this

}  // namespace

LargeFiles::LargeFiles(const EngineContext& context, SessionPool& pool, Lister& lister, FetchTotals& totals)
    : context_(context), pool_(pool), lister_(lister), totals_(totals) {}

LargeFiles::~LargeFiles() = default;

void LargeFiles::read(RequestId id, FileTarget target, uint64_t offset, uint32_t length,
                      Done<ReadBytes> done) {
  const auto now = Clock::now();
  const LargeFilePtr file = obtain(std::move(target));
  LargeFile::Reader reader;
  reader.id = id;
  reader.since = now;
  reader.deadline = now + context_.options.timeout;
  reader.offset = std::min(offset, file->target.size);
  reader.end = std::min(offset + length, file->target.size);
  reader.done = std::move(done);
  file->demanded_end = std::max(file->demanded_end, reader.end);
  file->last_used = now;
  file->readers.push_back(std::move(reader));
  serve(file);
}

void LargeFiles::hydrate(RequestId id, FileTarget target, Done<void> done) {
  const auto now = Clock::now();
  const LargeFilePtr file = obtain(std::move(target));
  file->hydrators.push_back({id, now, now + context_.options.timeout, std::move(done)});
  file->last_used = now;
  serve(file);
}

LargeFilePtr LargeFiles::obtain(FileTarget target) {
  LargeFilePtr& slot = files_[target.node];
  if (!slot) {
    slot = std::make_shared<LargeFile>(std::move(target));
    load(slot);
  }
  return slot;
}

// Finds what an earlier fetch left.
void LargeFiles::load(const LargeFilePtr& file) {
  file->state = LargeFile::State::kLoading;
  context_.store.post([this, file] {
    auto writer = context_.replica.resume_content(file->target.node, file->target.size);
    Result<ExtentSet> extents =
        writer ? Result<ExtentSet>((*writer)->extents()) : Result<ExtentSet>(writer.error());
    if (writer) file->writer->content = std::move(*writer);
    context_.loop.post([this, file, extents = std::move(extents)]() mutable {
      if (file->state != LargeFile::State::kLoading) return;
      if (!extents) {
        fail(file, extents.error());
        return;
      }
      file->landed = std::move(*extents);
      file->received = file->landed;
      file->loaded_at = Clock::now();
      file->state = LargeFile::State::kReady;
      serve(file);
    });
  });
}

// Answers the readers whose bytes are here, and sees to it that the others' come.
void LargeFiles::serve(const LargeFilePtr& file) {
  if (file->state != LargeFile::State::kReady && file->state != LargeFile::State::kChecking) return;
  auto ready = take_if(file->readers,
                       [&](const LargeFile::Reader& r) { return file->landed.covers(r.offset, r.end); });
  if (!ready.empty() && !file->shown) {
    file->shown = context_.may_show(file->target);
    if (!file->shown) {
      std::move(file->readers.begin(), file->readers.end(), std::back_inserter(ready));
      file->readers = std::move(ready);
      revalidate(file);
      return;
    }
  }
  for (auto& reader : ready) {
    context_.store.post([this, file, reader = std::make_shared<LargeFile::Reader>(std::move(reader))] {
      auto bytes = std::make_shared<std::vector<std::byte>>(reader->end - reader->offset);
      Result<void> got = file->writer->content ? file->writer->content->read(reader->offset, *bytes)
                                               : Error(Errc::kCanceled, "the file was put away");
      context_.loop.post([reader, bytes, got = std::move(got)]() mutable {
        if (got) {
          reader->done(ReadBytes{bytes, *bytes});
        } else {
          reader->done(got.error());
        }
      });
    });
  }
  if (file->state == LargeFile::State::kChecking) return;
  if (file->landed.covers(0, file->target.size)) {
    complete(file);
    return;
  }
  start_streams(file);
  adjust_parking(file);
}

void LargeFiles::start_streams(const LargeFilePtr& file) {
  const auto now = Clock::now();
  while (true) {
    const auto starts = file->starts();
    if (starts.empty() || !begin_stream(file, starts.front(), now)) return;
  }
}

// False: all streams and sessions that there may be are needed; what is waited for has to wait.
bool LargeFiles::begin_stream(const LargeFilePtr& file, const LargeFile::Start& start,
                              Clock::time_point now) {
  if (file->streams.size() >= kMaxStreamsPerFile) {
    const FileStream* victim = file->victim(start.since, now);
    if (victim == nullptr) return false;
    const auto session = victim->session;
    session->fail(Error(Errc::kCanceled, "the reader went elsewhere"));
  }
  SessionSpec spec;
  spec.purpose = SessionSpec::Purpose::kStream;
  spec.paths.push_back(file->target.path);
  spec.append = start.offset > 0;
  spec.demanded = true;
  auto session = pool_.open(spec, *this);
  // A file that is only brought along gives way to one that is read.
  if (!session && !file->readers.empty() && stop_background_stream())
    session = pool_.open(std::move(spec), *this);
  if (!session) return false;
  auto sink = std::make_unique<FileStream>(*this, *file, start.offset);
  sink->session = std::move(session);
  file->streams.push_back(std::move(sink));
  return true;
}

// False: none can be stopped, or it would not help.
bool LargeFiles::stop_background_stream() {
  if (!pool_.link().may_attempt(Clock::now(), true)) return false;
  for (const auto& [node, file] : files_) {
    if (!file->readers.empty() || file->streams.empty()) continue;
    const auto session = file->streams.front()->session;
    session->fail(Error(Errc::kCanceled, "a file that is read goes first"));
    return true;
  }
  return false;
}

void LargeFiles::close_streams(const LargeFilePtr& file, const char* why) {
  for (auto& stream : std::exchange(file->streams, {})) {
    stream->session->fail(Error(Errc::kCanceled, why));
    context_.loop.post([keep = std::move(stream)]() mutable { keep.reset(); });
  }
}

LargeFilePtr LargeFiles::owner(const RemoteSession& session, FileStream** sink) {
  for (const auto& [node, file] : files_) {
    for (const auto& stream : file->streams) {
      if (stream->session.get() != &session) continue;
      *sink = stream.get();
      return file;
    }
  }
  return nullptr;
}

void LargeFiles::session_listed(RemoteSession& session) {
  FileStream* stream = nullptr;
  const LargeFilePtr file = owner(session, &stream);
  if (!file) return;
  const auto ndx = session.list().find(file->target.path);
  const FileEntry* entry = ndx ? &session.list().entry(*ndx) : nullptr;
  if (entry == nullptr || entry->mode == 0) {
    fail(file, Error(Errc::kVanished, "the file is gone from the source"));
    return;
  }
  if (file->target.matches(*entry)) {
    stream->requested = true;
    if (stream->start() == 0) {
      session.request_file(*ndx, *stream, 0);
    } else {
      session.request_append(*ndx, stream->start(), *stream);
    }
    return;
  }
  revalidate(file);
}

// The source has another version. If nothing of the old one was stored or seen, the node takes the new one.
void LargeFiles::revalidate(const LargeFilePtr& file) {
  if (file->shown || ++file->attempts > kMaxAttempts) {
    fail(file, Error(Errc::kChanged, "the file was replaced on the source"));
    return;
  }
  close_streams(file, "another version");
  relist(file, LargeFile::State::kRevalidating);
}

// What the source has now; `why` is the state until that is known.
void LargeFiles::relist(const LargeFilePtr& file, LargeFile::State why) {
  file->state = why;
  lister_.revalidate(file->target, [this, file, why](Result<FileTarget> now) {
    if (file->state != why) return;
    const bool checking = why == LargeFile::State::kChecking;
    if (!now && checking && now.error().code() == Errc::kVanished) {
      store(file);  // for those who have it open
    } else if (!now) {
      fail(file, now.error());
    } else if (checking && now->version() == file->target.version()) {
      store(file);
    } else if (now->size < file->target.size) {  // the kernel waits for bytes that are no more
      fail(file, Error(Errc::kChanged, "the file became shorter on the source"));
    } else {
      take_version(file, std::move(*now));
    }
  });
}

void LargeFiles::take_version(const LargeFilePtr& file, FileTarget now) {
  file->target = std::move(now);
  file->received = {};
  file->outdated = false;
  file->digest.clear();
  for (auto& reader : file->readers) {
    reader.offset = std::min(reader.offset, file->target.size);
    reader.end = std::min(reader.end, file->target.size);
  }
  load(file);
}

void LargeFiles::session_drained(RemoteSession& session) {
  FileStream* stream = nullptr;
  const LargeFilePtr file = owner(session, &stream);
  if (!file) return;
  if (stream->beyond() > kMaxBeyondBytes) {
    file->outdated = true;
    session.fail(Error(Errc::kCanceled, "the file has grown"));
    return;
  }
  if (!file->readers.empty()) stream->flush();
  adjust_parking(file);
}

// A stream runs ahead of its readers by what they have proved to need, and no further than the disk keeps up.
void LargeFiles::adjust_parking(const LargeFilePtr& file) {
  std::vector<std::shared_ptr<RemoteSession>> superfluous;
  for (const auto& stream : file->streams) {
    if (!stream->requested) continue;
    const uint64_t ahead =
        std::clamp(stream->position() - stream->start(), kFirstAheadBytes, kMostAheadBytes);
    uint64_t window = file->hydrators.empty() ? file->demanded_end + ahead : UINT64_MAX;
    for (const auto& reader : file->readers) {
      if (reader.offset >= stream->start()) window = std::max(window, reader.end + ahead);
    }
    const bool needed = stream->position() < window;
    stream->session->set_paused(!needed || file->unstored_bytes > kMaxUnstoredBytes);
    const uint64_t next = stream->position();
    if (next > stream->start() && next < file->target.size &&
        file->received.covers(next, std::min(next + kWorthBytes, file->target.size))) {
      superfluous.push_back(stream->session);
    }
  }
  for (const auto& session : superfluous) session->fail(Error(Errc::kCanceled, "the rest is here already"));
}

void LargeFiles::stream_bytes(const LargeFilePtr& file, uint64_t offset,
                              std::shared_ptr<std::vector<std::byte>> bytes) {
  file->unstored_bytes += bytes->size();
  file->received.add(offset, offset + bytes->size());
  totals_.bytes += bytes->size();
  context_.store.post([this, file, offset, bytes = std::move(bytes)] {
    Result<void> result;
    if (file->writer->content) result = file->writer->content->write(offset, *bytes);
    context_.loop.post([this, file, offset, size = bytes->size(), result = std::move(result)] {
      landed(file, offset, offset + size, result);
    });
  });
}

void LargeFiles::landed(const LargeFilePtr& file, uint64_t begin, uint64_t end, const Result<void>& result) {
  file->unstored_bytes -= end - begin;
  if (file->state != LargeFile::State::kReady) return;
  if (!result) {
    fail(file, result.error());
    return;
  }
  file->landed.add(begin, end);
  file->uncommitted_bytes += end - begin;
  file->last_landing = last_landing_ = Clock::now();
  if (file->uncommitted_bytes >= kCommitBytes) {
    file->uncommitted_bytes = 0;
    context_.store.post([file] {
      if (!file->writer->content) return;
      const auto committed = file->writer->content->commit_partial();
      if (!committed) log_warn("cannot record a partial file: " + committed.error().message());
    });
  }
  serve(file);
}

void LargeFiles::stream_done(const LargeFilePtr& file, FileStream& sink, FileEnd end) {
  const uint64_t start = sink.start();
  const uint64_t position = sink.position();
  const std::shared_ptr<RemoteSession> session = sink.session;
  const auto own = std::find_if(file->streams.begin(), file->streams.end(),
                                [&](const auto& s) { return s.get() == &sink; });
  std::unique_ptr<FileStream> keep = std::move(*own);  // we are inside its done()
  file->streams.erase(own);
  context_.loop.post([keep = std::move(keep)]() mutable { keep.reset(); });
  session->fail(Error(Errc::kCanceled, "the stream is complete"));
  if (end.status == FileEnd::Status::kNotSent) {
    fail(file, end.reason);
    return;
  }
  if (end.status == FileEnd::Status::kBadDigest || position != file->target.size) {
    log_warn("a stream does not add up and is fetched anew: " + file->target.path);
    file->disproved = true;
    if (++file->attempts >= kMaxAttempts) {
      fail(file, Error(Errc::kCorrupt, "the file changed while it was read, or the source cannot read it"));
    } else if (position != file->target.size) {
      fail(file, Error(Errc::kChanged, "the file changed while it was read"));
    } else {
      restart(file);
    }
    return;
  }
  if (sink.beyond() > 0) {
    // What readers have asked for is this version as far as anybody can tell, but it will not be kept.
    file->outdated = true;
    serve(file);
    return;
  }
  if (start == 0 && end.digest) {
    const auto digest = end.digest->span();
    file->digest.assign(reinterpret_cast<const char*>(digest.data()),
                        digest.size());  // NOLINT: bytes as text
    file->digest_name = checksum_name(session->checksum());
  }
  serve(file);
}

// Nothing of what has landed can be trusted: from the beginning, for the same readers.
void LargeFiles::restart(const LargeFilePtr& file) {
  auto fresh = std::make_shared<LargeFile>(file->target);
  fresh->readers = std::exchange(file->readers, {});
  fresh->hydrators = std::exchange(file->hydrators, {});
  fresh->attempts = file->attempts;
  fresh->demanded_end = file->demanded_end;
  fail(file, Error(Errc::kCorrupt, "the digest of a stream does not match"));
  files_[fresh->target.node] = fresh;
  load(fresh);
}

void LargeFiles::complete(const LargeFilePtr& file) {
  if (file->unstored_bytes > 0) return;  // duplicates of a second stream are still on their way
  // All bytes are here, and a stream that brought the last of them still owes its digest.
  for (const auto& stream : file->streams) {
    if (stream->requested && stream->position() >= file->target.size) return;
  }
  if (file->outdated) {
    revalidate(file);
    return;
  }
  close_streams(file, "the file is complete");
  // A digest says that the bytes are what the source read, not that it was one version all the time.
  const bool quick = Clock::now() - file->loaded_at < kQuickly;
  if (quick && !file->digest.empty()) {
    store(file);
  } else {
    relist(file, LargeFile::State::kChecking);
  }
}

void LargeFiles::store(const LargeFilePtr& file) {
  file->state = LargeFile::State::kCompleting;
  ++totals_.files;
  context_.store.post([this, file] {
    std::vector<Replica::FinishedContent> list(1);
    list[0].node = file->target.node;
    list[0].writer = std::move(file->writer->content);
    list[0].size = file->target.size;
    list[0].digest = file->digest;
    list[0].digest_name = file->digest_name;
    list[0].version = file->target.version();
    auto result = context_.replica.finish_contents(std::move(list));
    context_.loop.post([this, file, result = std::move(result)] {
      if (!result) {
        fail(file, result.error());
        return;
      }
      file->state = LargeFile::State::kOver;
      files_.erase(file->target.node);
      auto hydrators = std::exchange(file->hydrators, {});
      for (auto& waiter : hydrators) waiter.done(Result<void>());
      // Readers that came meanwhile begin again: they find it complete.
      for (auto& reader : std::exchange(file->readers, {})) {
        const auto length = static_cast<uint32_t>(reader.end - reader.offset);
        if (context_.answer_stored(file->target.node, reader.offset, length, reader.done)) continue;
        read(reader.id, file->target, reader.offset, length, std::move(reader.done));
      }
    });
  });
}

void LargeFiles::session_ended(RemoteSession& session, const Error& why) {
  FileStream* stream = nullptr;
  const LargeFilePtr file = owner(session, &stream);
  if (!file) return;
  stream->flush();
  const bool brought = stream->position() > stream->start();
  const auto own = std::find_if(file->streams.begin(), file->streams.end(),
                                [&](const auto& s) { return s.get() == stream; });
  std::unique_ptr<FileStream> keep = std::move(*own);  // its session may still be on the stack
  file->streams.erase(own);
  context_.loop.post([keep = std::move(keep)]() mutable { keep.reset(); });
  const bool about_path = why.code() == Errc::kNotFound || why.code() == Errc::kPermission ||
                          why.code() == Errc::kVanished || why.code() == Errc::kAuth;
  if (about_path) {
    fail(file, why);
  } else if (session.broken() && session.established()) {
    file->barren = brought ? 0 : file->barren + 1;
    if (file->barren >= kMaxAttempts) fail(file, why);
  }
}

void LargeFiles::pump() {
  std::vector<LargeFilePtr> all;
  for (const auto& [node, file] : files_) all.push_back(file);
  for (const auto& file : all) serve(file);
}

void LargeFiles::tick(Clock::time_point now) {
  std::vector<LargeFile::Reader> late;
  std::vector<Waiter<void>> late_hydrators;
  std::vector<LargeFilePtr> idle;
  for (const auto& [node, file] : files_) {
    // One that has no stream gets its turn when others are through with theirs.
    const auto progress = file->streams.empty() ? last_landing_ : file->last_landing;
    renew_all(file->readers, progress, context_.options.timeout);
    renew_all(file->hydrators, progress, context_.options.timeout);
    auto readers = take_if(file->readers, [now](const auto& w) { return now >= w.deadline; });
    auto hydrators = take_if(file->hydrators, [now](const auto& w) { return now >= w.deadline; });
    totals_.timed_out += readers.size() + hydrators.size();
    std::move(readers.begin(), readers.end(), std::back_inserter(late));
    std::move(hydrators.begin(), hydrators.end(), std::back_inserter(late_hydrators));
    if (file->wanted()) file->last_used = now;
    if (file->state == LargeFile::State::kReady && now - file->last_used > kParkedFor) idle.push_back(file);
  }
  for (const auto& file : idle) retire(file);
  const Error why = pool_.link().failure(context_.patience());
  fail_all(late, why);
  fail_all(late_hydrators, why);
}

// Nobody reads it any more: what has landed is recorded, the streams are closed.
void LargeFiles::retire(const LargeFilePtr& file) {
  if (file->unstored_bytes > 0) return;
  file->state = LargeFile::State::kOver;
  files_.erase(file->target.node);
  close_streams(file, "nobody reads it any more");
  context_.store.post([file] {
    if (!file->writer->content) return;
    const auto committed = file->writer->content->commit_partial();
    if (!committed) log_warn("cannot record a partial file: " + committed.error().message());
    file->writer->content.reset();
  });
}

void LargeFiles::fail(const LargeFilePtr& file, const Error& why) {
  if (file->state == LargeFile::State::kOver) return;
  const bool void_content =
      why.code() == Errc::kChanged || why.code() == Errc::kVanished || why.code() == Errc::kCorrupt;
  const bool wrong = file->disproved || file->state == LargeFile::State::kChecking;
  file->state = LargeFile::State::kOver;
  files_.erase(file->target.node);
  if (file->wanted()) totals_.note_failure(file->target.path, why);
  close_streams(file, "the fetch failed");
  context_.store.post([this, file, void_content] {
    if (!file->writer->content) return;
    Result<void> result;
    if (!void_content) result = file->writer->content->commit_partial();
    file->writer->content.reset();
    if (void_content) result = context_.replica.drop_content(file->target.node);
    if (!result) log_warn("cannot put a partial file in order: " + result.error().message());
  });
  // The kernel may have pages that were never of this version.
  if (void_content && file->shown && wrong) context_.events.on_content_changed(file->target.node);
  if (void_content) lister_.refresh(file->target.parent, file->target.directory());
  fail_all(file->readers, why);
  fail_all(file->hydrators, why);
}

bool LargeFiles::cancel(RequestId id) {
  for (const auto& [node, file] : files_) {
    auto readers = take_if(file->readers, [id](const auto& w) { return w.id == id; });
    auto hydrators = take_if(file->hydrators, [id](const auto& w) { return w.id == id; });
    if (readers.empty() && hydrators.empty()) continue;
    const Error why(Errc::kCanceled, "interrupted");
    fail_all(readers, why);
    fail_all(hydrators, why);
    return true;
  }
  return false;
}

void LargeFiles::link_failed(bool hopeless) {
  if (!hopeless) return;
  const Error why = pool_.link().failure(context_.patience());
  std::vector<LargeFilePtr> all;
  for (const auto& [node, file] : files_) {
    if (file->wanted() && file->streams.empty()) all.push_back(file);
  }
  for (const auto& file : all) fail(file, why);
}

void LargeFiles::fail_everything(const Error& why) {
  std::vector<LargeFilePtr> all;
  for (const auto& [node, file] : files_) all.push_back(file);
  for (const auto& file : all) {
    if (file->state != LargeFile::State::kCompleting) fail(file, why);
  }
}

bool LargeFiles::waiting() const {
  return std::any_of(files_.begin(), files_.end(), [](const auto& item) { return item.second->wanted(); });
}

size_t LargeFiles::waiting_count() const {
  size_t count = 0;
  for (const auto& [node, file] : files_) count += file->readers.size() + file->hydrators.size();
  return count;
}

void LargeFiles::add_transfers(std::vector<TransferStatus>& out) const {
  for (const auto& [node, file] : files_) {
    if (!file->streams.empty()) out.push_back({file->target.path, file->landed.bytes(), file->target.size});
  }
}

}  // namespace rsyncfs
