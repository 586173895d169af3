// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/dirty_files.h"

#include <algorithm>
#include <deque>
#include <string>

#include "io/base/log.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/content_version.h"
#include "sync/replica/file_change.h"
#include "sync/replica/file_sync.h"
#include "sync/replica/layer_file.h"
#include "sync/replica/layer_merge.h"
#include "sync/replica/push_finish.h"
#include "sync/replica/push_snapshot.h"

namespace rsyncfs {
namespace {
// Pushed files in one transaction: most of the pages that it writes are those of the next as well, but nobody
// is to wait for the writer for long.
constexpr size_t kFinishedAtOnce = 256;
}  // namespace

Result<void> DirtyFiles::recover() {
  auto nodes = nodes_with_layers(store_.writer.db());
  if (!nodes) return nodes.error();
  for (const NodeId node : *nodes) registry_.set_layers(node, true);
  auto acknowledged = acknowledged_layers(store_.writer.db());
  if (!acknowledged) return acknowledged.error();
  for (const LayerRow& row : *acknowledged) {
    if (auto done = finish_acknowledged(store_, *registry_.file(row.node)); !done) return done;
  }
  return {};
}

template <class Act>
Result<Node> DirtyFiles::change(NodeId file, uint32_t clear_permissions, const Act& act) {
  const auto object = registry_.file(file);
  FileChange change(store_, *object, clear_permissions);
  Result<Node> changed = act(change);
  if (changed && change.new_name() && new_name_) new_name_(*change.new_name());
  return changed;
}

Result<Node> DirtyFiles::write(NodeId file, uint64_t offset, std::span<const std::byte> data,
                               uint32_t clear_permissions) {
  return change(file, clear_permissions, [&](FileChange& change) { return change.write(offset, data); });
}

Result<Node> DirtyFiles::resize(NodeId file, uint64_t size, uint32_t clear_permissions) {
  return change(file, clear_permissions, [&](FileChange& change) { return change.resize(size); });
}

Result<Node> DirtyFiles::allocate(NodeId file, AllocateMode mode, uint64_t offset, uint64_t length,
                                  uint32_t clear_permissions) {
  return change(file, clear_permissions,
                [&](FileChange& change) { return change.allocate(mode, offset, length); });
}

Result<std::shared_ptr<LentContent>> DirtyFiles::lend(NodeId file) {
  using Lent = std::shared_ptr<LentContent>;
  const auto object = registry_.file(file);
  // Who is at it may take long; who opens the file does not wait for him.
  const std::unique_lock lock(object->changes(), std::try_to_lock);
  if (!lock.owns_lock()) return Lent();
  if (auto known = store_.contents.lent(file)) return Lent(std::move(known));
  const auto view = object->view();
  if (!view) return view.error();
  if (view->open || view->sealed) return Lent();
  auto lent = store_.contents.lend(file, view->size);
  if (!lent) return lent.error();
  return Lent(std::move(*lent));
}

Result<void> DirtyFiles::prepare_lent(NodeId file) {
  const auto object = registry_.file(file);
  const std::lock_guard lock(object->changes());
  const auto lent = store_.contents.lent(file);
  return lent ? store_.contents.move_from(*lent) : Result<void>();
}

Result<bool> DirtyFiles::take_mapped(NodeId file) {
  const auto lent = store_.contents.lent(file);
  if (!lent) return false;
  bool any = false;
  for (uint64_t position = 0;;) {
    bool more = false;
    auto taken = change(file, 0, [&](FileChange& change) -> Result<Node> {
      auto some = change.take_mapped(*lent, position);
      if (!some) return some.error();
      more = *some;
      any = any || change.changed();
      return Node();
    });
    if (!taken) return taken.error();
    if (!more) return any;
  }
}

Result<bool> DirtyFiles::is_only_copy(NodeId node) const {
  auto connection = store_.reads.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(store_.reads, *connection);
  auto version = content_version(*lease, node);
  if (!version || version->has_value()) return version ? Result<bool>(false) : version.error();
  auto content = find_content(*lease, node);
  if (!content) return content.error();
  return content->has_value();
}

Result<void> DirtyFiles::sync(NodeId node) {
  if (const auto file = registry_.dirty_file(node)) {
    if (auto done = sync_bytes(store_, *file); !done) return done;
  }
  auto only_copy = is_only_copy(node);
  if (!only_copy) return only_copy.error();
  if (*only_copy) {
    if (auto done = close_epoch(); !done) return done;
  }
  return sync_names();
}

Result<void> DirtyFiles::sync_all() {
  if (auto done = close_epoch(); !done) return done;
  return sync_names();
}

Result<void> DirtyFiles::sync_names() {
  if (!directories_synced_) {
    if (auto done = sync_directories(store_.directory); !done) return done;
    directories_synced_ = true;
  }
  return sync_log(store_.directory);
}

Result<void> DirtyFiles::close_epoch() {
  if (rewrite_all_.exchange(false)) {
    for (const NodeId node : registry_.nodes()) {
      const auto file = registry_.dirty_file(node);
      if (file == nullptr) continue;
      if (auto done = write_bytes_anew(store_, *file); !done) log_error(done.error().message());
    }
  }
  auto done = epochs_.sync();
  if (done) return done;
  rewrite_all_ = true;
  for (const NodeId node : registry_.nodes()) {
    if (const auto file = registry_.dirty_file(node)) file->sync_failed = true;
  }
  return done;
}

std::vector<Result<std::shared_ptr<PushSnapshot>>> DirtyFiles::snapshots(std::span<const NodeId> nodes) {
  std::vector<std::shared_ptr<DirtyFile>> files;
  files.reserve(nodes.size());
  for (const NodeId node : nodes) files.push_back(registry_.file(node));
  return take_snapshots(store_, files);
}

void DirtyFiles::read_ahead(std::span<const std::shared_ptr<PushSnapshot>> snapshots) {
  std::vector<const StoredSnapshot*> stored;
  stored.reserve(snapshots.size());
  for (const auto& one : snapshots) stored.push_back(static_cast<const StoredSnapshot*>(one.get()));
  keep_small(store_, stored);
}

Result<void> DirtyFiles::pushed(std::span<const PushedContent> files) {
  while (!files.empty()) {
    std::deque<PushFinish> finishes;
    std::vector<PushFinish*> small;
    std::vector<PushFinish*> others;
    for (const PushedContent& file : files.first(std::min(files.size(), kFinishedAtOnce))) {
      RSYNCFS_CHECK(file.snapshot != nullptr);
      const auto& stored = static_cast<const StoredSnapshot&>(*file.snapshot);
      PushFinish& one = finishes.emplace_back(store_, stored, file.now,
                                              FileDigest{file.digest_name, file.digest}, file.names);
      (one.is_small() ? small : others).push_back(&one);
    }
    files = files.subspan(finishes.size());
    for (PushFinish* const left : finish_together(store_, std::move(small))) others.push_back(left);
    for (PushFinish* const one : others) {
      if (auto done = one->run(); !done) return done;
    }
  }
  return {};
}

void DirtyFiles::committed(const Aftermath& aftermath) {
  for (const NodeId node : aftermath.layers_made) registry_.set_layers(node, true);
  for (const NodeId node : aftermath.layers_gone) registry_.set_layers(node, false);
  for (const NodeId node : aftermath.layers_dropped) registry_.dropped(node);
  for (const BytesPlace& place : aftermath.freed) {
    if (place.slab == 0) store_.files.forget(place.position);
  }
}

}  // namespace rsyncfs
