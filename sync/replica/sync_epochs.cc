// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/sync_epochs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "io/base/log.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/layer_file.h"
#include "sync/replica/layer_recovery.h"
#include "sync/replica/schema.h"

namespace rsyncfs {
namespace {

constexpr const char* kBoot = "boot";
constexpr const char* kEpoch = "epoch";          // the running one
constexpr const char* kSynced = "synced_epoch";  // the last one that is surely on the disk

constexpr Sql kUnsynced{"SELECT node FROM contents WHERE epoch>?"};

}  // namespace

Result<bool> SyncEpochs::is_of(const std::string& boot) const {
  auto before = read_setting(writer_.db(), kBoot);
  if (!before) return before.error();
  return !boot.empty() && before->has_value() && **before == boot;
}

Result<void> SyncEpochs::recover(const std::string& boot) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  Connection& db = (*transaction)->db();
  auto before = read_setting(db, kBoot);
  if (!before) return before.error();
  auto epoch = read_number(db, kEpoch);
  if (!epoch) return epoch.error();
  auto synced = read_number(db, kSynced);
  if (!synced) return synced.error();
  const bool same_boot = !boot.empty() && before->has_value() && **before == boot;
  uint64_t synced_now = synced->value_or(0);
  if (same_boot) {
    // Written by the process before us, and perhaps not synced: which files, we don't know.
    overflow_ = synced_now < epoch->value_or(0);
  } else {
    if (auto done = drop_unsynced(**transaction, synced_now); !done) return done;
    if (auto done = drop_unsynced_layers(**transaction, synced_now); !done) return done;
    synced_now = epoch->value_or(0);
  }
  const uint64_t next = std::max(synced_now, epoch->value_or(0)) + 1;
  if (auto done = write_setting(db, kBoot, boot); !done) return done;
  if (auto done = write_number(db, kEpoch, next); !done) return done;
  if (auto done = write_number(db, kSynced, synced_now); !done) return done;
  writer_.set_epoch(next);
  synced_ = synced_now;
  return (*transaction)->commit();
}

Result<void> SyncEpochs::drop_unsynced(Transaction& transaction, uint64_t synced) {
  std::vector<NodeId> nodes;
  {
    Query query(transaction.db(), kUnsynced);
    query.unsigned_integer(synced);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) break;
      nodes.push_back(query.unsigned_at(0));
    }
  }
  for (const NodeId node : nodes) {
    if (auto done = erase_content(transaction, node); !done) return done;
  }
  if (!nodes.empty()) {
    log_warn(std::to_string(nodes.size()) +
             " cached files may not have reached the disk before it failed, and will be fetched again");
  }
  return {};
}

void SyncEpochs::wrote(const std::vector<BytesPlace>& places) {
  std::lock_guard lock(mutex_);
  for (const BytesPlace& place : places) {
    if (overflow_ || (place.slab == 0 && place.position == 0)) continue;
    files_.emplace(place.slab, place.slab == 0 ? place.position : 0);
    if (files_.size() > kMaxFiles) {
      files_.clear();
      overflow_ = true;
    }
  }
}

Result<void> SyncEpochs::sync() {
  const std::lock_guard one_caller(sync_mutex_);
  uint64_t closing = 0;
  std::set<File> files;
  bool all = false;
  {
    auto transaction = writer_.begin();
    if (!transaction) return transaction.error();
    {
      std::lock_guard lock(mutex_);
      if (files_.empty() && !overflow_) return {};
    }
    closing = writer_.epoch();
    if (auto done = write_number((*transaction)->db(), kEpoch, closing + 1); !done) return done;
    if (auto done = (*transaction)->commit(); !done) return done;
    writer_.set_epoch(closing + 1);
    std::lock_guard lock(mutex_);
    files = std::exchange(files_, {});
    all = std::exchange(overflow_, false);
  }
  auto synced = sync_files(files, all);
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  if (!synced) {
    // The kernel tells of a lost page once, and then shows what the disk has: none of it can be believed.
    if (auto done = drop_unsynced(**transaction, synced_); !done) return done;
    if (auto done = (*transaction)->commit(); !done) return done;
    // Local changes can't be dropped: they belong to the next epoch.
    std::lock_guard lock(mutex_);
    files_.merge(files);
    overflow_ = overflow_ || all || files_.size() > kMaxFiles;
    return synced;
  }
  synced_ = closing;
  if (auto done = write_number((*transaction)->db(), kSynced, closing); !done) return done;
  return (*transaction)->commit();
}

Result<void> SyncEpochs::sync_files(const std::set<File>& files, bool all) {
  if (all) {
    const OwnedFd fd(::open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || syncfs(fd.get()) != 0) return Error::os(errno, "syncing " + directory_.path());
    return {};
  }
  std::vector<std::string> some;
  std::vector<std::string> synced;
  for (const auto& [slab, block] : files) {
    some.push_back(slab != 0 ? directory_.slab(slab) : directory_.block_file(block));
    if (some.size() < FileBatch::kDepth) continue;
    if (auto done = sync_bytes(std::exchange(some, {}), synced); !done) return done;
  }
  if (auto done = sync_bytes(some, synced); !done) return done;
  return sync_entries(batch_, synced);
}

Result<void> SyncEpochs::sync_bytes(const std::vector<std::string>& paths, std::vector<std::string>& synced) {
  std::vector<OwnedFd> open;
  std::vector<FileSync> syncs;
  const size_t first = synced.size();
  for (const std::string& path : paths) {
    OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd && errno == ENOENT) continue;  // dropped since
    if (!fd) return Error::os(errno, "syncing " + path);
    syncs.push_back({fd.get(), true});
    open.push_back(std::move(fd));
    synced.push_back(path);
  }
  batch_.sync(syncs);
  for (size_t i = 0; i < syncs.size(); ++i) {
    if (syncs[i].error != 0) return Error::os(syncs[i].error, "syncing " + synced[first + i]);
  }
  return {};
}

}  // namespace rsyncfs
