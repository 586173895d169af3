// SPDX-License-Identifier: GPL-3.0-or-later
// The part of LargeFiles that makes a file of what an older version left here.
#include <algorithm>
#include <utility>

#include "io/base/log.h"
#include "sync/engine/large_files.h"

namespace rsyncfs {

namespace {

// So long readers wait for all of a file before they have streams of their own beside it: what a source takes
// to read it through, within limits. A stream that begins too soon brings what the delta saves.
constexpr uint64_t kBytesPerSecond = 32 << 20;
constexpr std::chrono::milliseconds kShortestWait{1'000};
constexpr std::chrono::milliseconds kLongestWait{8'000};

}  // namespace

void LargeFiles::start_delta(const LargeFilePtr& file, std::shared_ptr<const Content> basis) {
  if (file->delta || file->delta_tried || !worth_a_delta(*basis, file->target.size)) return;
  file->delta_tried = true;
  file->delta = std::make_shared<DeltaFetch>(context_, pool_, *this, file->target, std::move(basis), false);
  const std::chrono::milliseconds wait(file->target.size * 1000 / kBytesPerSecond);
  file->last_landing = Clock::now();
  file->streams_from = file->last_landing + std::clamp(wait, kShortestWait, kLongestWait);
}

bool LargeFiles::waits_for_delta(const LargeFilePtr& file) {
  if (!file->delta) return false;
  file->delta->start();
  return Clock::now() < file->streams_from;
}

void LargeFiles::drop_delta(const LargeFilePtr& file) {
  if (const auto delta = std::exchange(file->delta, nullptr)) delta->cancel();
}

void LargeFiles::delta_progress(DeltaFetch& delta) {
  const auto found = files_.find(delta.target().node);
  if (found == files_.end() || found->second->delta.get() != &delta) return;
  found->second->last_landing = last_landing_ = Clock::now();
}

void LargeFiles::delta_done(DeltaFetch& delta, Result<DeltaResult> result) {
  const auto found = files_.find(delta.target().node);
  if (found == files_.end() || found->second->delta.get() != &delta) return;
  const LargeFilePtr file = found->second;
  file->delta.reset();
  file->streams_from = {};
  if (!result) {
    const Errc code = result.error().code();
    log_info("not made of its older version: " + file->target.path + ": " + result.error().message());
    if (code == Errc::kCorrupt) {
      context_.store.post([this, node = file->target.node] {
        if (const auto dropped = context_.replica.drop_basis(node); !dropped)
          log_warn("an older version stays: " + dropped.error().message());
      });
    }
    if (code == Errc::kChanged && file->state == LargeFile::State::kReady) {
      revalidate(file);
    } else {
      serve(file);
    }
    return;
  }
  if (result->sent_size != file->target.size) {
    if (file->state == LargeFile::State::kReady) revalidate(file);
    return;
  }
  if (file->state != LargeFile::State::kReady) return;
  close_streams(file, "the file is complete");
  // What streams have brought of it is behind this on the strand, or not stored any more.
  totals_.bytes += delta.received_bytes();
  file->digest = std::move(result->digest);
  file->digest_name = std::move(result->digest_name);
  file->received.add(0, file->target.size);  // no stream is to begin until it has landed
  auto writer = std::make_shared<std::unique_ptr<ContentWriter>>(std::move(result->writer));
  context_.store.post([this, file, writer] {
    file->writer->content = std::move(*writer);
    context_.loop.post([this, file] {
      if (file->state != LargeFile::State::kReady) return;
      file->landed.add(0, file->target.size);
      serve(file);
    });
  });
}

}  // namespace rsyncfs
