// SPDX-License-Identifier: GPL-3.0-or-later
// How new files get from the journal into the database.
#include <pthread.h>

#include <algorithm>
#include <string>
#include <utility>

#include "io/base/log.h"
#include "sync/replica/new_files.h"
#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

// As many as two batches may need, and what is taken when there are fewer.
constexpr uint64_t kFewNumbers = 2048;
constexpr uint64_t kNumbersTaken = 8192;

}  // namespace

Result<void> NewFiles::recover(bool same_boot) {
  for (size_t i = 0; i < journal_.size(); ++i) {
    auto file = JournalFile::open(directory_.journal(i));
    if (!file) return file.error();
    journal_[i].emplace(std::move(*file));
  }
  auto last = last_recorded_entry(writer_.db());
  if (!last) return last.error();
  next_entry_ = *last + 1;
  // What the kernel had in memory only is gone; of the rest nobody knows what is missing.
  if (same_boot) {
    if (auto done = replay(); !done) return done.error().with_context("the journal");
  }
  for (auto& file : journal_) {
    if (auto done = file->erase(); !done) return done;
  }
  return {};
}

// As far as one entry follows on the other. After that nobody knows what is missing, so it is kept as it is.
Result<void> NewFiles::replay() {
  std::vector<JournalEntry> entries;
  bool damaged = false;
  for (const auto& file : journal_) {
    auto some = file->read();
    if (!some) return some.error();
    damaged = damaged || some->damaged;
    for (JournalEntry& entry : some->entries) {
      if (entry.number >= next_entry_) entries.push_back(std::move(entry));
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const JournalEntry& a, const JournalEntry& b) { return a.number < b.number; });
  const uint64_t first = next_entry_;
  {
    const std::lock_guard lock(mutex_);
    for (const JournalEntry& entry : entries) {
      const auto record = decode_journal_record(entry.record);
      const bool follows = entry.number == next_entry_ && record && perform(*record).ok();
      damaged = damaged || !follows;
      if (!follows) break;
      taking_.last_entry = next_entry_++;
    }
    if (next_entry_ != first) pass_on();
  }
  if (damaged) {
    if (auto done = set_aside(next_entry_ - first); !done) return done;
  }
  if (next_entry_ == first) return {};
  if (auto done = take_numbers(false); !done) return done;
  return record(false);
}

// What follows has numbers that nothing in the files has.
Result<void> NewFiles::set_aside(uint64_t recovered) {
  std::string names;
  for (auto& file : journal_) {
    auto name = file->set_aside();
    if (!name) return name.error();
    names += (names.empty() ? "" : ", ") + *name;
  }
  log_error(
      "the journal is damaged: of the last changes before rsyncfs ended, files that had just been made, " +
      std::to_string(recovered) + " are recovered and what came after them is not; it is kept in " + names);
  return {};
}

void NewFiles::start() {
  {
    const std::lock_guard lock(mutex_);
    started_ = true;
  }
  writer_.set_backlog(this);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "new-files");
}

void NewFiles::finish() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    work_wanted_.notify_one();
  }
  thread_.join();
  // What cannot be recorded is found in the journal at the next start.
  if (auto done = settle(); !done) log_error(done.error().message());
  const std::lock_guard lock(mutex_);
  started_ = false;
}

Result<void> NewFiles::settle() {
  if (!something_.load()) return {};
  auto transaction = writer_.begin();
  return transaction ? (*transaction)->commit() : transaction.error();
}

Result<void> NewFiles::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (!something_.load()) return {};
  }
  if (auto done = take_numbers(true); !done) return done;
  while (has_work(true)) {
    if (auto done = record(true); !done) return done;
  }
  const std::lock_guard lock(mutex_);
  directories_.clear();
  something_.store(false);
  return {};
}

void NewFiles::open() {
  const std::lock_guard lock(mutex_);
  closed_ = false;
}

// Is there a batch to be recorded? `all`: the one that takes changes, too.
bool NewFiles::has_work(bool all) {
  const std::lock_guard lock(mutex_);
  if (all && recording_.empty() && !taking_.empty()) pass_on();
  return !recording_.empty();
}

void NewFiles::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      work_wanted_.wait(lock, [this] { return work_ || ending_; });
      if (ending_) return;
      work_ = false;
    }
    auto done = take_numbers(false);
    if (done && has_work(false)) done = record(false);
    if (!done) log_error(done.error().message());
  }
}

Result<std::unique_ptr<Transaction>> NewFiles::begin(bool held) {
  return held ? writer_.begin_held() : writer_.begin_beside_backlog();
}

Result<void> NewFiles::take_numbers(bool held) {
  {
    const std::lock_guard filing(filing_);
    const std::lock_guard lock(mutex_);
    if (block_files_.left() >= kFewNumbers && node_ids_.left() >= kFewNumbers) return {};
  }
  auto transaction = begin(held);
  if (!transaction) return transaction.error();
  auto node = writer_.take_node_ids(kNumbersTaken);
  if (!node) return node.error();
  uint64_t block_file = 0;
  if (auto done = blocks_.take_numbers(**transaction, kNumbersTaken, block_file); !done) return done;
  if (auto done = (*transaction)->commit(); !done) return done;
  const std::lock_guard filing(filing_);
  const std::lock_guard lock(mutex_);
  block_files_ = {block_file, block_file + kNumbersTaken};
  node_ids_ = {*node, *node + kNumbersTaken};
  return {};
}

Result<void> NewFiles::file_bytes() {
  for (auto& [id, file] : recording_.files) {
    if (file.bytes.empty() || file.block_file != 0) continue;
    RSYNCFS_CHECK(block_files_.left() > 0);
    auto created = blocks_.create_numbered(block_files_.next++);
    if (!created) return created.error();
    const auto bytes = std::as_bytes(std::span(file.bytes));
    if (auto done = write_all(created->fd.get(), bytes, 0, "writing a new file"); !done) {
      blocks_.closed(created->id);
      return done;
    }
    file.block_file = created->id;
  }
  return {};
}

// Their bytes are written before others are kept out.
Result<void> NewFiles::record(bool held) {
  if (!held) {
    const std::lock_guard filing(filing_);
    if (!has_work(false)) return {};
    if (auto done = file_bytes(); !done) return done;
  }
  auto transaction = begin(held);
  if (!transaction) return transaction.error();
  const std::lock_guard filing(filing_);
  // Somebody else may have done it by now.
  if (!has_work(false)) return {};
  if (auto done = file_bytes(); !done) return done;
  if (auto done = record_new_files(**transaction, recording_); !done) return done;
  if (auto done = (*transaction)->commit(); !done) return done;
  for (const auto& [id, file] : recording_.files) {
    if (file.block_file != 0) blocks_.closed(file.block_file);
  }
  const std::lock_guard lock(mutex_);
  recording_ = {};
  journal_[1 - taking_journal_]->restart();
  return {};
}

}  // namespace rsyncfs
