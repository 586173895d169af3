// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/layer_merge.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/base/log.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/layer_file.h"

namespace rsyncfs {
namespace {

Result<void> sync_file(DirtyStore& store, uint64_t block_file, int fd) {
  if (fdatasync(fd) != 0) return Error::os(errno, "syncing a local change");
  return sync_entries(store.batch, {store.directory.block_file(block_file)});
}

// The sealed and the open layer of one file as one open layer, in the block file of that which has more.
class LayerUnion {
 public:
  LayerUnion(DirtyStore& store, DirtyFile& file, const DirtyFile::View& view)
      : store_(store), file_(file), view_(view) {
    file.look([this](const DirtyState& state) {
      sealed_ = *state.sealed;
      open_ = *state.open;
    });
    sealed_.extents.apply(sealed_.extents.plan_cut(open_.base_limit));
    for (const auto& extent : sealed_.extents.all()) add_gaps(open_.extents, extent, raised_);
    for (const auto& extent : open_.extents.all()) lowered_.push_back({extent.begin, extent.end});
  }

  Result<void> run() {
    const bool lower = sealed_.block_file != 0 && bytes(lowered_) <= bytes(raised_);
    result_ = lower ? sealed_ : open_;
    result_.size = 0;
    result_.base_limit = std::min(sealed_.base_limit, open_.base_limit);
    const Layer& other = lower ? open_ : sealed_;
    const auto& moved = lower ? lowered_ : raised_;
    if (auto done = copy(other, moved); !done) return done;
    auto transaction = store_.writer.begin();
    if (!transaction) return transaction.error();
    if (!file_.is_current(view_)) return Error(Errc::kNotFound, "the changes of the file were dropped");
    if (auto done = record(**transaction, other, moved); !done) return done;
    (*transaction)->aftermath().then.emplace_back([this] {
      file_.change([this](DirtyState& state) {
        state.sealed.reset();
        state.open = std::move(result_);
        state.cut_synced = true;
      });
    });
    return (*transaction)->commit();
  }

 private:
  using Ranges = std::vector<ExtentSet::Range>;
  static uint64_t bytes(const Ranges& ranges) {
    uint64_t sum = 0;
    for (const auto& range : ranges) sum += range.end - range.begin;
    return sum;
  }
  // What of the extent is not in `extents`.
  static void add_gaps(const LayerExtents& extents, const LayerExtents::Extent& extent, Ranges& out) {
    for (uint64_t at = extent.begin; at < extent.end;) {
      const uint64_t there = extents.contiguous_end(at);
      if (there > at) {
        at = there;
        continue;
      }
      const uint64_t gap_end = std::min(extent.end, extents.next_begin(at));
      out.push_back({at, gap_end});
      at = gap_end;
    }
  }
  Result<void> copy(const Layer& from, const Ranges& ranges) {
    if (result_.block_file == 0) return {};
    auto to_fd = store_.files.open(result_.block_file);
    if (!to_fd) return to_fd.error();
    store_.contents.block_files().changed(result_.block_file);
    if (!ranges.empty()) {
      auto from_fd = store_.files.open(from.block_file);
      if (!from_fd) return from_fd.error();
      for (const auto& range : ranges) {
        auto done = copy_range((*from_fd)->get(), (*to_fd)->get(), range.begin, range.end);
        if (!done) return done;
      }
    }
    // What was on the disk in the other file has to be so in this one.
    return sync_file(store_, result_.block_file, (*to_fd)->get());
  }
  Result<void> record(Transaction& transaction, const Layer& other, const Ranges& moved) {
    LayerExtents& extents = result_.extents;
    const auto write = [&](const LayerExtents::Plan& plan) {
      extents.apply(plan);
      return write_extents(transaction, result_.block_file, plan);
    };
    // The rows of the sealed one are not cut yet.
    LayerExtents::Plan cut;
    file_.look([&](const DirtyState& state) {
      if (result_.block_file == sealed_.block_file) cut = state.sealed->extents.plan_cut(open_.base_limit);
    });
    if (auto done = write(cut); !done) return done;
    for (const auto& range : moved) {
      if (auto done = write(extents.plan_add(range.begin, range.end, 0)); !done) return done;
    }
    if (auto done = write(extents.plan_synced()); !done) return done;
    LayerRow row = *view_.sealed;
    row.number = kSealedLayer;
    if (auto done = erase_row(transaction, row, other); !done) return done;
    row = *view_.open;
    if (auto done = erase_row(transaction, row, other); !done) return done;
    free_layer_file(transaction, other.block_file);
    row.number = kOpenLayer;
    row.block_file = result_.block_file;
    row.size = 0;
    row.base_limit = result_.base_limit;
    return put_layer(transaction, row);
  }
  // The extents of the file that stays are kept.
  static Result<void> erase_row(Transaction& transaction, LayerRow row, const Layer& other) {
    if (row.block_file != other.block_file) row.block_file = 0;
    return erase_layer(transaction, row);
  }

  DirtyStore& store_;
  DirtyFile& file_;
  const DirtyFile::View view_;
  Layer sealed_;  // as far as the open one shows it
  Layer open_;
  Ranges lowered_;  // of the open one: all of it
  Ranges raised_;   // of the sealed one: what shows
  Layer result_;
};

// One acknowledged layer, and the content that it is for.
class Descent {
 public:
  Descent(DirtyStore& store, DirtyFile& file, const DirtyFile::View& view, Layer layer)
      : store_(store), file_(file), view_(view), row_(*view.sealed), layer_(std::move(layer)) {}

  Result<void> run() {
    auto content = read_content();
    if (!content) return content.error();
    if (content->has_value() && (*content)->sound && (*content)->place.slab == 0 &&
        (*content)->place.position != 0) {
      const uint64_t target = (*content)->place.position;
      auto done = merge(target);
      if (done) return record_merged(target);
      log_warn("cached bytes are given up for those that were pushed: " + done.error().message());
    }
    return record_alone();
  }

 private:
  Result<std::optional<ContentRow>> read_content() {
    auto connection = store_.reads.take();
    if (!connection) return connection.error();
    const ReadPool::Lease lease(store_.reads, *connection);
    return find_content(*lease, row_.node);
  }

  Result<void> merge(uint64_t target) {
    // After a power cut the content must not be taken for what it was before.
    if (auto done = sync_log(store_.directory); !done) return done;
    BlockFiles& blocks = store_.contents.block_files();
    // Also keeps others from going on with it.
    auto file = blocks.reopen(target);
    if (!file) return file.error();
    auto done = copy_to(file->fd.get());
    if (!done) blocks.closed(target);
    return done;
  }

  Result<void> copy_to(int fd) {
    if (auto done = ensure_length(fd, layer_.size); !done) return done;
    if (layer_.extents.empty()) return {};
    auto from = store_.files.open(layer_.block_file);
    if (!from) return from.error();
    for (const auto& extent : layer_.extents.all()) {
      if (auto done = copy_range((*from)->get(), fd, extent.begin, extent.end); !done) return done;
    }
    return {};
  }

  Result<void> record_merged(uint64_t target) {
    auto done = put_merged(target);
    store_.contents.block_files().closed(target);
    return done;
  }

  Result<void> put_merged(uint64_t target) {
    auto transaction = store_.writer.begin();
    if (!transaction) return transaction.error();
    if (!file_.is_current(view_)) return {};
    auto content = find_content((*transaction)->db(), row_.node);
    if (!content) return content.error();
    // Otherwise it was fetched anew meanwhile, or dropped.
    if (content->has_value() && (*content)->sound && (*content)->place.slab == 0 &&
        (*content)->place.position == target) {
      ContentRow row = std::move(**content);
      auto sums = sums_beside((*transaction)->db(), row, layer_);
      if (!sums) return sums.error();
      row.sums = std::move(*sums);
      ExtentSet extents = std::move(row.extents);
      if (row.complete) extents.add(0, row.place.size);
      extents.remove(layer_.base_limit, std::max(row.place.size, layer_.base_limit));
      if (auto done = put_row(**transaction, row, target, std::move(extents)); !done) return done;
    }
    return end(**transaction, LayerFile::kFreed);
  }

  // The layer's file becomes the content, as far as it goes.
  Result<void> record_alone() {
    if (layer_.block_file != 0) {
      auto fd = store_.files.open(layer_.block_file);
      if (!fd) return fd.error();
      if (auto done = ensure_length((*fd)->get(), layer_.size); !done) return done;
    }
    auto transaction = store_.writer.begin();
    if (!transaction) return transaction.error();
    if (!file_.is_current(view_)) return {};
    if (layer_.block_file == 0) {
      if (auto done = erase_content(**transaction, row_.node); !done) return done;
      return end(**transaction, LayerFile::kFreed);
    }
    ContentRow row;
    row.node = row_.node;
    if (auto done = put_row(**transaction, row, layer_.block_file, {}); !done) return done;
    return end(**transaction, LayerFile::kKept);
  }

  Result<void> put_row(Transaction& transaction, ContentRow& row, uint64_t block_file, ExtentSet extents) {
    for (const auto& extent : layer_.extents.all()) extents.add(extent.begin, extent.end);
    row.place = BytesPlace{0, block_file, layer_.size};
    row.present = extents.bytes();
    row.complete = extents.covers(0, layer_.size);
    row.extents = row.complete ? ExtentSet() : std::move(extents);
    if (row.complete) {
      row.digest_name = row_.acknowledged->name;
      row.digest = row_.acknowledged->bytes;
    }
    return put_content(transaction, row);
  }

  Result<void> end(Transaction& transaction, LayerFile what) {
    auto base = find_base_node(transaction.db(), row_.node);
    if (!base) return base.error();
    if (auto done = end_sealed(transaction, file_, row_, what, *base); !done) return done;
    store_.contents.fill_sums(row_.node);
    return {};
  }

  DirtyStore& store_;
  DirtyFile& file_;
  const DirtyFile::View view_;
  const LayerRow row_;
  const Layer layer_;
};

}  // namespace

Result<ContentSums> sums_beside(Connection& db, const ContentRow& content, const Layer& layer) {
  auto sums = find_sums(db, content);
  if (!sums) return sums;
  sums->resize(layer.size);
  for (const auto& extent : layer.extents.all()) sums->forget(extent.begin, extent.end);
  sums->forget(layer.base_limit, layer.size);
  return sums;
}

Result<void> erase_sealed(Transaction& transaction, DirtyFile& file, const LayerRow& row, LayerFile what,
                          const std::optional<BaseNode>& base) {
  if (auto done = erase_layer(transaction, row); !done) return done;
  if (what == LayerFile::kFreed) free_layer_file(transaction, row.block_file);
  if (base) {
    if (auto done = put_base_node(transaction, *base); !done) return done;
  }
  auto left = find_layers(transaction.db(), row.node);
  if (!left) return left.error();
  if (left->empty()) transaction.aftermath().layers_gone.push_back(row.node);
  transaction.aftermath().then.emplace_back([&file] {
    file.change([](DirtyState& state) {
      state.sealed.reset();
      state.acknowledged.reset();
    });
  });
  return {};
}

Result<void> end_sealed(Transaction& transaction, DirtyFile& file, const LayerRow& row, LayerFile what,
                        const std::optional<BaseNode>& base) {
  auto done = erase_sealed(transaction, file, row, what, base);
  return done ? transaction.commit() : done;
}

Result<void> finish_acknowledged(DirtyStore& store, DirtyFile& file) {
  auto view = file.view();
  if (!view) return view.error();
  if (!view->sealed || !view->sealed->acknowledged) return {};
  auto layer = file.look([](const DirtyState& state) { return state.sealed; });
  if (!layer) return {};
  return Descent(store, file, *view, std::move(*layer)).run();
}

Result<void> settle_sealed(DirtyStore& store, DirtyFile& file) {
  auto view = file.view();
  if (!view || !view->sealed) return view ? Result<void>() : view.error();
  if (view->sealed->acknowledged) return finish_acknowledged(store, file);
  if (!view->open) return {};
  return LayerUnion(store, file, *view).run();
}

}  // namespace rsyncfs
