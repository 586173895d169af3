// SPDX-License-Identifier: GPL-3.0-or-later
#include "io/file_batch.h"

#include <utility>

#include "io/file_calls.h"
#include "io/threads/thread_file_batch.h"
#include "io/uring/ring_file_batch.h"

namespace rsyncfs {

template <class Item>
void FileBatch::count_reads(std::span<Item> items) {
  uint64_t bytes = 0;
  for (const Item& item : items) bytes += item.got;
  counters_.reads.fetch_add(items.size(), std::memory_order_relaxed);
  counters_.read_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

void FileBatch::read(std::span<FileRead> reads) {
  if (reads.size() == 1) {
    read_now(reads.front());
  } else if (!reads.empty()) {
    counters_.batches.fetch_add(1, std::memory_order_relaxed);
    read_many(reads);
  }
  count_reads(reads);
}

void FileBatch::sync(std::span<FileSync> syncs) {
  if (syncs.size() == 1) {
    sync_now(syncs.front());
  } else if (!syncs.empty()) {
    counters_.batches.fetch_add(1, std::memory_order_relaxed);
    // Otherwise each sync places and writes its file's pages under the journal's commits of those before it.
    for (const FileSync& item : syncs) start_writeback(item.fd);
    sync_many(syncs);
  }
  counters_.syncs.fetch_add(syncs.size(), std::memory_order_relaxed);
}

void FileBatch::load(std::span<FileLoad> loads) {
  if (loads.size() == 1) {
    load_now(loads.front());
  } else if (!loads.empty()) {
    counters_.batches.fetch_add(1, std::memory_order_relaxed);
    load_many(loads);
  }
  count_reads(loads);
}

void FileBatch::remove(std::span<FileRemoval> removals) {
  if (removals.size() == 1) {
    remove_now(removals.front());
  } else if (!removals.empty()) {
    counters_.batches.fetch_add(1, std::memory_order_relaxed);
    remove_many(removals);
  }
  counters_.removals.fetch_add(removals.size(), std::memory_order_relaxed);
}

Result<FileBatchSelection> make_file_batch(IoChoice choice) {
  std::string why = "asked for";
  if (choice != IoChoice::kThreads) {
    auto ring = make_ring_file_batch();
    if (ring.ok()) return FileBatchSelection{std::move(ring->batch), "io_uring: " + ring->description};
    if (choice == IoChoice::kUring) return ring.error();
    why = ring.error().message();
  }
  return FileBatchSelection{make_thread_file_batch(), "threads: " + why};
}

}  // namespace rsyncfs
