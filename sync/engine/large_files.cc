// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/large_files.h"

#include <algorithm>
#include <cerrno>
#include <list>
#include <utility>

#include "io/base/log.h"

namespace rsyncfs {

namespace {

// A file that came in one piece within this time is of the version that was listed when it began.
constexpr std::chrono::seconds kQuickly{5};
constexpr std::chrono::seconds kParkedFor{30};  // a file nobody reads is closed after this
constexpr std::chrono::seconds kPassingFor{3};  // the same for one that is held in memory

}  // namespace

LargeFiles::LargeFiles(const EngineContext& context, SessionPool& pool, Lister& lister, FetchTotals& totals)
    : context_(context), pool_(pool), lister_(lister), totals_(totals) {}

LargeFiles::~LargeFiles() = default;

void LargeFiles::read(RequestId id, FileTarget target, uint64_t offset, uint32_t length,
                      Done<ReadBytes> done) {
  const auto now = Clock::now();
  const FileVersion version = target.version();
  const LargeFilePtr file = obtain(std::move(target));
  LargeFile::Reader reader;
  reader.id = id;
  reader.since = now;
  reader.deadline = now + context_.options.timeout;
  reader.asked_offset = offset;
  reader.asked_end = offset + length;
  reader.fit(file->target.size);
  reader.done = std::move(done);
  // What is here already it may have come to without a stream.
  const uint64_t needs = file->lacks(reader).value_or(reader.offset);
  for (const auto& stream : file->streams) stream->note_read(needs, reader.end);
  file->last_used = file->last_read = now;
  file->readers.push_back(std::move(reader));
  if (version == file->target.version()) {
    serve(file);
  } else {
    renew(file);
  }
}

void LargeFiles::hydrate(RequestId id, FileTarget target, Done<void> done) {
  const auto now = Clock::now();
  const LargeFilePtr file = obtain(std::move(target));
  if (file->passing) return done(*file->passing);
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
  if (!file->passing && !context_.budget.fits(file->target.size) &&
      !context_.is_changed_here(file->target.node))
    file->passing = Error::os(ENOSPC, "the file is larger than cache_size= allows");
  context_.store.post([this, file, passes = file->passing.has_value()] {
    Result<ExtentSet> extents = ExtentSet();
    std::shared_ptr<const Content> basis;
    if (passes) {
      file->writer->content.reset();
      file->writer->passing = std::make_unique<PassingBytes>();
    } else {
      auto writer = context_.replica.resume_content(file->target.node, file->target.size);
      extents = writer ? Result<ExtentSet>((*writer)->extents()) : Result<ExtentSet>(writer.error());
      if (writer) file->writer->content = std::move(*writer);
      if (extents && extents->ranges().empty()) {
        if (auto found = context_.replica.basis(file->target.node)) basis = std::move(*found);
      }
    }
    context_.loop.post([this, file, extents = std::move(extents), basis = std::move(basis)]() mutable {
      if (file->state != LargeFile::State::kLoading) return;
      if (!extents) {
        pass_through(file, extents.error());
        return;
      }
      file->landed = std::move(*extents);
      file->received = file->landed;
      file->loaded_at = Clock::now();
      file->state = LargeFile::State::kReady;
      if (basis && !file->outdated) start_delta(file, std::move(basis));
      if (file->outdated) {
        revalidate(file);
      } else {
        serve(file);
      }
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
  for (auto& reader : ready) give(file, std::move(reader));
  if (file->state == LargeFile::State::kChecking) return;
  if (file->landed.covers(0, file->target.size)) {
    complete(file);
    return;
  }
  if (waits_for_delta(file)) return;
  start_streams(file);
  adjust_parking(file);
}

void LargeFiles::give(const LargeFilePtr& file, LargeFile::Reader ready) {
  context_.store.post([this, file, reader = std::make_shared<LargeFile::Reader>(std::move(ready))] {
    const BufferPool::Buffer buffer = context_.buffers.get(reader->end - reader->offset);
    Result<void> got = file->writer->read(reader->offset, buffer.bytes);
    context_.loop.post([this, file, reader, buffer, got = std::move(got)]() mutable {
      if (got) {
        reader->done(ReadBytes{buffer.owner, buffer.bytes});
      } else if (file->state == LargeFile::State::kReady &&
                 (file->passing || is_store_trouble(got.error()))) {
        // They have just gone, or the disk cannot read them: once more from the source.
        file->readers.push_back(std::move(*reader));
        if (file->passing) serve(file);
        if (!file->passing) pass_through(file, got.error());
      } else {
        reader->done(got.error());
      }
    });
  });
}

// The source has another version. If nothing of the old one was stored or seen, the node takes the new one.
void LargeFiles::revalidate(const LargeFilePtr& file) {
  if (file->shown || ++file->attempts > kMaxAttempts) {
    fail(file, Error(Errc::kChanged, "the file was replaced on the source"));
    return;
  }
  close_streams(file, "another version");
  file->ready.reset();
  drop_delta(file);
  relist(file, LargeFile::State::kRevalidating);
}

// A list has brought another version than is being fetched.
void LargeFiles::renew(const LargeFilePtr& file) {
  if (file->state == LargeFile::State::kReady) {
    revalidate(file);
  } else {
    file->outdated = true;
  }
}

// What the source has now; `why` is the state until that is known.
void LargeFiles::relist(const LargeFilePtr& file, LargeFile::State why) {
  file->state = why;
  lister_.revalidate(file->target, [this, file, why](Result<FileTarget> now) {
    if (file->state != why) return;
    const bool checking = why == LargeFile::State::kChecking;
    // What is gone from the source is kept for those who have it open.
    const bool proven =
        now ? now->version() == file->target.version() : now.error().code() == Errc::kVanished;
    if (checking && proven) {
      store(file);
    } else if (!now) {
      fail(file, now.error());
    } else if (now->size < file->target.size) {  // the kernel waits for bytes that are no more
      fail(file, Error(Errc::kChanged, "the file became shorter on the source"));
    } else if (checking && ++file->attempts > kMaxAttempts) {
      fail(file, Error(Errc::kChanged, "the file keeps changing on the source"));
    } else {
      take_version(file, std::move(*now));
    }
  });
}

void LargeFiles::take_version(const LargeFilePtr& file, FileTarget now) {
  file->target = std::move(now);
  file->received = {};
  file->outdated = false;
  file->passing.reset();
  file->delta_tried = false;
  file->digest.clear();
  for (auto& reader : file->readers) reader.fit(file->target.size);
  load(file);
}

// Nothing of what has landed can be trusted: from the beginning, for the same readers.
void LargeFiles::restart(const LargeFilePtr& file) {
  begin_again(file, Error(Errc::kCorrupt, "the digest of a stream does not match"), file->passing);
}

// The disk, or the limit of the cache, takes no more of it. Who reads gets the bytes all the same; who wants
// it here hears why not.
void LargeFiles::pass_through(const LargeFilePtr& file, const Error& why) {
  if (!is_store_trouble(why) || file->passing) {
    fail(file, why);
    return;
  }
  log_warn("not stored: " + file->target.path + ": " + why.message());
  retire_idle();
  begin_again(file, why, why);
}

void LargeFiles::begin_again(const LargeFilePtr& file, const Error& why, std::optional<Error> passing) {
  auto fresh = std::make_shared<LargeFile>(file->target);
  fresh->passing = std::move(passing);
  fresh->shown = fresh->passing && file->shown;
  fresh->readers = std::exchange(file->readers, {});
  if (!fresh->passing) fresh->hydrators = std::exchange(file->hydrators, {});
  fresh->attempts = file->attempts;
  fail(file, why);
  files_[fresh->target.node] = fresh;
  load(fresh);
}

void LargeFiles::complete(const LargeFilePtr& file) {
  if (file->unstored_bytes > 0) return;  // duplicates of a second stream are still on their way
  // All bytes are here, and a stream that brought the last of them still owes its digest.
  for (const auto& stream : file->streams) {
    if (!stream->requested || stream->position() < file->target.size) continue;
    stream->session->set_paused(false);
    return;
  }
  if (file->outdated) {
    revalidate(file);
    return;
  }
  if (file->passing) return;
  close_streams(file, "the file is complete");
  file->ready.reset();
  drop_delta(file);
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
  context_.store.post([this, file, shown = file->shown] {
    std::vector<Replica::FinishedContent> list(1);
    list[0].node = file->target.node;
    list[0].writer = std::move(file->writer->content);
    list[0].size = file->target.size;
    list[0].digest = file->digest;
    list[0].digest_name = file->digest_name;
    list[0].version = file->target.version();
    list[0].shown = shown;
    auto result = context_.replica.finish_contents(std::move(list));
    context_.loop.post([this, file, result = std::move(result)] {
      if (!result) {
        pass_through(file, result.error());
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
    const auto progress = file->streams.empty() && !file->delta ? last_landing_ : file->last_landing;
    renew_all(file->readers, progress, context_.options.timeout);
    renew_all(file->hydrators, progress, context_.options.timeout);
    auto readers = take_if(file->readers, [now](const auto& w) { return now >= w.deadline; });
    auto hydrators = take_if(file->hydrators, [now](const auto& w) { return now >= w.deadline; });
    totals_.timed_out += readers.size() + hydrators.size();
    std::move(readers.begin(), readers.end(), std::back_inserter(late));
    std::move(hydrators.begin(), hydrators.end(), std::back_inserter(late_hydrators));
    if (file->wanted() || file->delta) file->last_used = now;
    if (file->ready) file->ready->expire(now);
    if (file->state == LargeFile::State::kReady &&
        now - file->last_used > (file->passing ? kPassingFor : kParkedFor))
      idle.push_back(file);
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
  file->ready.reset();
  drop_delta(file);
  context_.store.post([file] {
    file->writer->passing.reset();
    if (!file->writer->content) return;
    const auto committed = file->writer->content->commit_partial();
    if (!committed) log_warn("cannot record a partial file: " + committed.error().message());
    file->writer->content.reset();
  });
}

// While they wait for their readers to come back, what is stored of them cannot be let go.
void LargeFiles::retire_idle() {
  std::vector<LargeFilePtr> idle;
  for (const auto& [node, file] : files_) {
    if (file->state == LargeFile::State::kReady && !file->wanted()) idle.push_back(file);
  }
  for (const auto& file : idle) retire(file);
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
  file->ready.reset();
  drop_delta(file);
  context_.store.post([this, file, void_content] {
    if (!file->writer->content && !file->writer->passing) return;
    Result<void> result;
    if (!void_content && file->writer->content) result = file->writer->content->commit_partial();
    file->writer->content.reset();
    file->writer->passing.reset();
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
    if (file->wanted() && file->streams.empty() && !file->delta) all.push_back(file);
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
    if (!file->streams.empty() || file->delta) {
      const uint64_t by_delta = file->delta ? file->delta->received_bytes() : 0;
      out.push_back({file->target.path, std::max(by_delta, file->landed.bytes()), file->target.size});
    }
  }
}

}  // namespace rsyncfs
