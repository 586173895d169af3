// SPDX-License-Identifier: GPL-3.0-or-later
// The part of LargeFiles that deals with streams: which there are, how far each runs ahead, what comes of it.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/large_files.h"

namespace rsyncfs {

namespace {

constexpr uint64_t kMaxUnstoredBytes = 32 << 20;  // received and not written: the stream waits for the disk
constexpr uint64_t kFirstAheadBytes =
    256 * 1024;                                 // a stream runs this far ahead of its readers, growing with
constexpr uint64_t kMostAheadBytes = 32 << 20;  // what was read from it
constexpr unsigned kSeeksOfRandomReader = 2;    // then sessions are kept ready for the next
constexpr std::chrono::seconds kSeekPause{3};   // a longer one, and they are counted anew
constexpr uint64_t kPassingAheadParts = 4;      // of what may be held in memory, where nothing is stored
constexpr uint64_t kCommitBytes = 16 << 20;     // recorded at least this often, so that a crash loses less
constexpr uint64_t kMaxBeyondBytes = 16 << 20;  // what was appended meanwhile is read and dropped, up to this
constexpr size_t kMaxStreamsPerFile = 4;
constexpr uint64_t kWorthBytes = 8 << 20;  // a stream that would bring nothing new for this long is closed

}  // namespace

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
    if (!pool_.link().may_attempt(now, true)) return false;
    const FileStream* victim = file->victim(start.since, now);
    if (victim == nullptr) return false;
    const auto session = victim->session;
    session->fail(Error(Errc::kCanceled, "the reader went elsewhere"));
  }
  const bool seeks = start.offset > 0 && !file->readers.empty();
  ReadySessions::Taken ready;
  if (seeks && file->ready) ready = file->ready->take(file->target, *this);
  auto session = ready.session ? ready.session : open_stream(file, start, now);
  if (!session) return false;
  auto sink = std::make_unique<FileStream>(*this, *file, start.offset, start.end, context_.buffers);
  sink->session = session;
  sink->requested = ready.ndx.has_value();
  FileStream& stream = *sink;
  file->streams.push_back(std::move(sink));
  if (stream.requested) {
    session->expect(stream.first_bytes());
    session->request_append(*ready.ndx, start.offset, stream);
  }
  if (seeks) note_seek(file, now);
  return true;
}

std::shared_ptr<RemoteSession> LargeFiles::open_stream(const LargeFilePtr& file,
                                                       const LargeFile::Start& start, Clock::time_point now) {
  SessionSpec spec;
  spec.purpose = SessionSpec::Purpose::kStream;
  spec.paths.push_back(file->target.path);
  spec.append = start.offset > 0;
  spec.narrow = spec.append && !file->readers.empty();
  // Beside a delta it may be superfluous by the time of its list.
  if (!file->delta && start.offset <= kMaxAppendOffset) spec.first_offset = start.offset;
  spec.demanded = true;
  auto session = pool_.open(spec, *this);
  if (!session && !file->readers.empty() && stop_stream_for(file, start.since, now))
    session = pool_.open(std::move(spec), *this);
  return session;
}

void LargeFiles::note_seek(const LargeFilePtr& file, Clock::time_point now) {
  if (now - file->last_seek > kSeekPause) file->seeks = 0;
  file->last_seek = now;
  if (++file->seeks < kSeeksOfRandomReader) return;
  close_passed_probes(file);
  if (!file->ready) file->ready = std::make_unique<ReadySessions>(pool_);
  file->ready->keep(file->target, now);
}

// Who reads here and there does not come back to where nothing was read on.
void LargeFiles::close_passed_probes(const LargeFilePtr& file) {
  std::vector<std::shared_ptr<RemoteSession>> passed;
  for (const auto& stream : file->streams) {
    if (stream->is_probe() && stream->session->paused() && stream->position() >= stream->demanded_end())
      passed.push_back(stream->session);
  }
  for (const auto& session : passed) session->fail(Error(Errc::kCanceled, "the reader went elsewhere"));
}

// A file that is only brought along gives way to one that is read; of those that are read, one that has had
// its turn to one that has waited for longer. False: none can be stopped, or it would not help.
bool LargeFiles::stop_stream_for(const LargeFilePtr& wanting, Clock::time_point since,
                                 Clock::time_point now) {
  if (!pool_.link().may_attempt(now, true)) return false;
  const FileStream* victim = nullptr;
  bool background = false;
  for (const auto& [node, file] : files_) {
    if (file == wanting || file->streams.empty()) continue;
    const FileStream& stream = *file->streams.front();
    // Between two reads of one program nobody waits.
    const bool read = !file->readers.empty() || now - file->last_read < kStreamTurn;
    const bool had_its_turn = now - stream.opened_at >= kStreamTurn &&
                              std::all_of(file->readers.begin(), file->readers.end(),
                                          [since](const auto& reader) { return reader.since > since; });
    if (read && (background || !had_its_turn)) continue;
    if (victim != nullptr && background == !read && victim->opened_at <= stream.opened_at) continue;
    victim = &stream;
    background = !read;
  }
  if (victim == nullptr) return false;
  const auto session = victim->session;
  session->fail(Error(Errc::kCanceled, "a file that is read goes first"));
  return true;
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
      if (stream->is_probe()) session.expect(stream->first_bytes());
      session.request_append(*ndx, stream->start(), *stream);
    }
    return;
  }
  revalidate(file);
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
    const uint64_t most = file->passing ? PassingBytes::limit() / kPassingAheadParts : kMostAheadBytes;
    const uint64_t grown =
        std::clamp(stream->position() - stream->start(), std::min(kFirstAheadBytes, most), most);
    const uint64_t ahead = stream->is_probe() ? 0 : grown;
    if (!file->hydrators.empty()) stream->bring_all();
    uint64_t window = file->hydrators.empty() ? stream->demanded_end() + ahead : UINT64_MAX;
    bool waited_for = false;
    for (const auto& reader : file->readers) {
      const auto lacking = file->lacks(reader);
      if (!lacking || !stream->will_bring(*lacking)) continue;
      window = std::max(window, reader.end + ahead);
      waited_for = true;
    }
    const bool asked_for = !file->hydrators.empty() || stream->position() + ahead < window;
    stream->session->attribute(asked_for ? WirePurpose::kRead : WirePurpose::kReadAhead);
    stream->session->set_urgency(waited_for ? Urgency::kReadMiss : Urgency::kReadAhead);
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

void LargeFiles::stream_bytes(const LargeFilePtr& file, uint64_t offset, SharedBytes bytes) {
  const size_t size = bytes.bytes.size();
  file->unstored_bytes += size;
  file->received.add(offset, offset + size);
  totals_.bytes += size;
  context_.store.post([this, file, offset, size, bytes = std::move(bytes)] {
    Result<ExtentSet> gone = put(*file, offset, bytes);
    context_.loop.post(
        [this, file, offset, size, gone = std::move(gone)] { landed(file, offset, offset + size, gone); });
  });
}

// On the store strand. Gives what had to go for it.
Result<ExtentSet> LargeFiles::put(const LargeFile& file, uint64_t offset, const SharedBytes& shared) const {
  if (file.writer->passing) return file.writer->passing->add(offset, shared);
  ContentWriter* const content = file.writer->content.get();
  if (content == nullptr) return ExtentSet();
  const std::span<const std::byte> bytes = shared.bytes;
  auto room = context_.budget.make_room(bytes.size());
  if (!room && !context_.is_changed_here(file.target.node)) return room.error();
  auto written = content->write(offset, bytes);
  if (!written && is_disk_full(written.error()) && context_.budget.relieve(bytes.size()))
    written = content->write(offset, bytes);
  return written ? Result<ExtentSet>(ExtentSet()) : written.error();
}

void LargeFiles::landed(const LargeFilePtr& file, uint64_t begin, uint64_t end,
                        const Result<ExtentSet>& gone) {
  file->unstored_bytes -= end - begin;
  if (file->state != LargeFile::State::kReady) return;
  if (!gone) {
    pass_through(file, gone.error());
    return;
  }
  file->landed.add(begin, end);
  for (const auto& range : gone->ranges()) {
    file->landed.remove(range.begin, range.end);
    file->received.remove(range.begin, range.end);
  }
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

}  // namespace rsyncfs
