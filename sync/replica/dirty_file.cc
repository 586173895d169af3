// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/dirty_file.h"

#include <cerrno>

#include "sync/replica/node_rows.h"
#include "sync/replica/pending.h"

namespace rsyncfs {
namespace {

// How often the layers may be dropped under the one who looks at them.
constexpr int kMaxAttempts = 100;

constexpr Sql kBegin{"BEGIN"};
constexpr Sql kEnd{"COMMIT"};

LayerRow row_of(NodeId node, LayerNumber number, const Layer& layer) {
  LayerRow row;
  row.node = node;
  row.number = number;
  row.block_file = layer.block_file;
  row.size = layer.size;
  row.base_limit = layer.base_limit;
  return row;
}

}  // namespace

Result<DirtyState> DirtyFile::read_rows(Connection& db) const {
  DirtyState state;
  auto node = find_node(db, node_);
  if (!node) return node.error();
  if (!node->has_value()) return Error(Errc::kNotFound, "no such node").with_errno(ESTALE);
  state.size = (*node)->attr.size;
  state.absent = ((*node)->differences & kAbsentAtSource) != 0;
  auto rows = find_layers(db, node_);
  if (!rows) return rows.error();
  for (LayerRow& row : *rows) {
    auto extents = read_extents(db, row.block_file);
    if (!extents) return extents.error();
    Layer layer{row.block_file, row.size, row.base_limit, std::move(*extents)};
    if (row.number == kSealedLayer) {
      state.sealed = std::move(layer);
      state.acknowledged = std::move(row.acknowledged);
    } else {
      state.open = std::move(layer);
    }
  }
  return state;
}

Result<DirtyState> DirtyFile::read_state() const {
  auto connection = store_.reads.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(store_.reads, *connection);
  if (auto done = Query(*lease, kBegin).run(); !done) return done.error();
  auto state = read_rows(*lease);
  static_cast<void>(Query(*lease, kEnd).run());
  return state;
}

// What was read is only good if nothing changed meanwhile.
Result<void> DirtyFile::load() const {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    uint64_t version = 0;
    {
      const std::shared_lock lock(mutex_);
      if (loaded_ && state_.has_layers()) return {};
      version = version_;
    }
    // Without the connection the state is waited for: others wait for a connection with the state held.
    auto state = read_state();
    if (!state) return state.error();
    const std::unique_lock lock(mutex_);
    if (version != version_) continue;
    state_ = std::move(*state);
    loaded_ = true;
    return {};
  }
  return Error(Errc::kLimit, "a file changes all the time");
}

Result<DirtyFile::SharedLock> DirtyFile::hold() const {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    SharedLock lock(mutex_);
    // Without layers the node's size may be changed by others.
    if (loaded_ && (state_.has_layers() || attempt > 0)) return lock;
    lock.unlock();
    if (auto done = load(); !done) return done.error();
  }
  return Error(Errc::kLimit, "a file changes all the time");
}

LayerStack DirtyFile::stack() const {
  std::vector<const Layer*> layers;
  if (state_.open) layers.push_back(&*state_.open);
  if (state_.sealed) layers.push_back(&*state_.sealed);
  return {store_.files, store_.contents, node_, std::move(layers), state_.size};
}

uint64_t DirtyFile::size() const {
  const auto lock = hold();
  return lock ? state_.size : 0;
}

Result<size_t> DirtyFile::read(uint64_t offset, std::span<std::byte> out,
                               std::vector<ExtentSet::Range>& missing, const BaseBytes* base) const {
  const auto lock = hold();
  if (!lock) return lock.error();
  return stack().read(offset, out, missing, base);
}

uint64_t DirtyFile::seek_data(uint64_t offset) const {
  const auto lock = hold();
  return lock ? stack().seek_data(offset) : offset;
}

uint64_t DirtyFile::seek_hole(uint64_t offset) const {
  const auto lock = hold();
  return lock ? stack().seek_hole(offset) : offset;
}

Result<DirtyFile::View> DirtyFile::view() {
  const auto lock = hold();
  if (!lock) return lock.error();
  View view;
  view.generation = generation_;
  view.size = state_.size;
  view.absent = state_.absent;
  view.cut_synced = state_.cut_synced;
  if (state_.open) view.open = row_of(node_, kOpenLayer, *state_.open);
  if (state_.sealed) {
    view.sealed = row_of(node_, kSealedLayer, *state_.sealed);
    view.sealed->acknowledged = state_.acknowledged;
  }
  return view;
}

bool DirtyFile::is_current(const View& view) const {
  const std::shared_lock lock(mutex_);
  return loaded_ && generation_ == view.generation;
}

void DirtyFile::drop() {
  const std::unique_lock lock(mutex_);
  ++generation_;
  ++version_;
  loaded_ = false;
  state_ = {};
}

}  // namespace rsyncfs
