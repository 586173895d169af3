// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/whole_store.h"

#include <algorithm>
#include <utility>

namespace rsyncfs {

namespace {

constexpr size_t kBatchFiles = 128;
constexpr std::chrono::milliseconds kBatchDelay{10};
constexpr uint64_t kMaxUnsavedBytes = 64 << 20;

Result<void> write_file(Replica& replica, const WholeFile& file,
                        std::vector<Replica::FinishedContent>& list) {
  const FileVersion version = file.target.version();
  auto writer = file.shown ? replica.create_shown_content(file.target.node, version, file.bytes->size())
                           : replica.create_content(file.target.node, file.bytes->size());
  // Deleted meanwhile: nobody will ask for it, and the others have nothing to do with that.
  if (!writer && writer.error().code() == Errc::kNotFound) return {};
  if (!writer) return writer.error();
  if (auto written = (*writer)->write(0, *file.bytes); !written) return written;
  Replica::FinishedContent& content = list.emplace_back();
  content.node = file.target.node;
  content.writer = std::move(*writer);
  content.size = file.bytes->size();
  content.digest_name = file.digest_name;
  content.version = version;
  content.shown = file.shown;
  if (file.outcome.digest) {
    const auto digest = file.outcome.digest->span();
    content.digest.assign(reinterpret_cast<const char*>(digest.data()),
                          digest.size());  // NOLINT: bytes as text
  }
  return {};
}

Result<void> write_batch(Replica& replica, const WholeStore::Batch& batch) {
  std::vector<Replica::FinishedContent> list;
  for (const auto& file : batch) {
    if (auto written = write_file(replica, *file, list); !written) return written;
  }
  return replica.finish_contents(std::move(list));
}

// About what they will take on the disk.
uint64_t disk_bytes(const WholeStore::Batch& batch) {
  constexpr uint64_t kBlockBytes = 4096;
  uint64_t sum = 0;
  for (const auto& file : batch) sum += (file->bytes->size() / kBlockBytes + 1) * kBlockBytes;
  return sum;
}

Result<void> store_batch(const EngineContext& context, const WholeStore::Batch& batch) {
  auto room = context.budget.make_room(disk_bytes(batch));
  const auto is_needed = [&](const WholeFilePtr& file) { return context.is_changed_here(file->target.node); };
  if (!room && std::ranges::none_of(batch, is_needed)) return room;
  auto written = write_batch(context.replica, batch);
  if (written || !is_disk_full(written.error())) return written;
  return context.budget.relieve(disk_bytes(batch)) ? write_batch(context.replica, batch) : written;
}

}  // namespace

WholeStore::~WholeStore() {
  if (flush_timer_ != 0) context_.loop.cancel_timer(flush_timer_);
}

void WholeStore::add(WholeFilePtr file) {
  bytes_ += file->bytes->size();
  gathered_bytes_ += file->bytes->size();
  gathered_.push_back(std::move(file));
  if (gathered_.size() >= kBatchFiles || bytes_ > kMaxUnsavedBytes / 2 ||
      gathered_bytes_ > context_.budget.batch_bytes()) {
    flush();
  } else if (flush_timer_ == 0) {
    flush_timer_ = context_.loop.run_after(kBatchDelay, [this] {
      flush_timer_ = 0;
      flush();
    });
  }
}

void WholeStore::flush() {
  if (gathered_.empty()) return;
  auto batch = std::make_shared<Batch>(std::exchange(gathered_, {}));
  gathered_bytes_ = 0;
  context_.store.post([this, batch] {
    auto result = store_batch(context_, *batch);
    context_.loop.post([this, batch, result = std::move(result)] {
      for (const auto& file : *batch) bytes_ -= file->bytes->size();
      stored_(*batch, result);
    });
  });
}

bool WholeStore::full() const {
  return bytes_ > kMaxUnsavedBytes;
}

}  // namespace rsyncfs
