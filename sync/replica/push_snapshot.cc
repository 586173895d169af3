// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/push_snapshot.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "sync/replica/base_rows.h"
#include "sync/replica/layer_merge.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {

StoredSnapshot::StoredSnapshot(DirtyStore& store, std::shared_ptr<DirtyFile> file,
                               const DirtyFile::View& view, const Node& node, const BaseNode& base,
                               std::optional<Layer> layer)
    : store_(store), file_(std::move(file)), view_(view), node_(node), base_(base), layer_(std::move(layer)) {
  file_->snapshot_lives = true;
  const uint64_t size = node_.attr.size;
  if (!base_.present || base_.foreign) {
    // The source has nothing of what we lay over.
    changed_.add(0, size);
  } else if (layer_) {
    base_limit_ = layer_->base_limit;
    changed_ = layer_->extents.ranges();
  } else {
    base_limit_ = size;
  }
}

StoredSnapshot::~StoredSnapshot() {
  file_->snapshot_lives = false;
}

LayerStack StoredSnapshot::stack() const {
  std::vector<const Layer*> layers;
  if (layer_) layers.push_back(&*layer_);
  return {store_.files, store_.contents, node_.id, std::move(layers), node_.attr.size};
}

Result<void> StoredSnapshot::read(uint64_t offset, std::span<std::byte> out) const {
  std::vector<ExtentSet::Range> missing;
  auto got = stack().read(offset, out, missing, nullptr);
  if (!got && !file_->is_current(view_)) return Error(Errc::kNotFound, "the file was removed");
  if (!got) return got.error();
  if (*got != out.size()) return Error(Errc::kUsage, "reading beyond the end of a file that is being pushed");
  if (!missing.empty()) return Error(Errc::kNotFound, "bytes of a file that is being pushed are not here");
  return {};
}

bool StoredSnapshot::complete() const {
  std::vector<ExtentSet::Range> missing;
  const auto found = stack().find_missing(0, node_.attr.size, missing);
  return found.ok() && missing.empty();
}

Result<bool> StoredSnapshot::read_base(uint64_t offset, std::span<std::byte> out) const {
  if (!base_.present || base_.foreign) return false;
  if (offset > base_.attr.size || out.size() > base_.attr.size - offset) return false;
  std::vector<ExtentSet::Range> missing;
  if (auto done = stack().read_base(offset, out, missing, nullptr); !done) return done.error();
  return missing.empty();
}

namespace {

// As they are in this moment.
struct Found {
  Node node;
  BaseNode base;
};

Result<Found> find_difference(Connection& db, NodeId id) {
  auto node = find_node(db, id);
  if (!node) return node.error();
  if (!node->has_value()) return Error(Errc::kNotFound, "no such node").with_errno(ESTALE);
  if (!S_ISREG((*node)->attr.mode)) return Error(Errc::kUsage, "only files have bytes to be pushed");
  auto base = find_base_node(db, id);
  if (!base) return base.error();
  if ((*node)->differences == 0 || !base->has_value())
    return Error(Errc::kNotFound, "nothing of this file is to be pushed");
  return Found{**node, **base};
}

}  // namespace

Result<std::shared_ptr<PushSnapshot>> take_snapshot(DirtyStore& store,
                                                    const std::shared_ptr<DirtyFile>& file) {
  const std::lock_guard lock(file->changes());
  if (file->snapshot_lives) return Error(Errc::kRefused, "the file is being pushed already");
  // What an earlier push left.
  if (auto done = settle_sealed(store, *file); !done) return done.error();
  auto view = file->view();
  if (!view) return view.error();
  auto transaction = store.writer.begin();
  if (!transaction) return transaction.error();
  if (!file->is_current(*view)) return Error(Errc::kNotFound, "the changes of the file were dropped");
  auto found = find_difference((*transaction)->db(), file->node());
  if (!found) return found.error();
  if (view->open) {
    if (auto done = seal_layer(**transaction, file->node(), found->node.attr.size); !done)
      return done.error();
    (*transaction)->aftermath().then.emplace_back([&] {
      file->change([&](DirtyState& state) {
        state.sealed = std::move(state.open);
        state.sealed->size = found->node.attr.size;
        state.open.reset();
        state.cut_synced = false;
      });
    });
    if (auto done = (*transaction)->commit(); !done) return done.error();
  }
  auto layer = file->look([](const DirtyState& state) { return state.sealed; });
  return std::shared_ptr<PushSnapshot>(
      std::make_shared<StoredSnapshot>(store, file, *view, found->node, found->base, std::move(layer)));
}

}  // namespace rsyncfs
