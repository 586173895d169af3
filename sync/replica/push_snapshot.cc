// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/push_snapshot.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "sync/replica/base_rows.h"
#include "sync/replica/layer_merge.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {

namespace {

// What is sent is stored with the small files, too, when it is acknowledged: till then it is kept in memory,
// up to a limit, rather than read twice.
constexpr uint64_t kKeptFileBytes = 16 * 1024;
constexpr uint64_t kMaxKeptBytes = 8 << 20;
std::atomic<uint64_t> kept_bytes{0};  // by all snapshots

}  // namespace

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
  static_cast<void>(take_kept());
  file_->snapshot_lives = false;
}

LayerStack StoredSnapshot::stack() const {
  std::vector<const Layer*> layers;
  if (layer_) layers.push_back(&*layer_);
  return {store_.files, store_.contents, node_.id, std::move(layers), node_.attr.size};
}

Result<void> StoredSnapshot::read(uint64_t offset, std::span<std::byte> out) const {
  const bool whole = offset == 0 && out.size() == node_.attr.size && out.size() <= kKeptFileBytes;
  if (whole && copy_kept(out)) return {};
  std::vector<ExtentSet::Range> missing;
  auto got = stack().read(offset, out, missing, nullptr);
  if (!got && !file_->is_current(view_)) return Error(Errc::kNotFound, "the file was removed");
  if (!got) return got.error();
  if (*got != out.size()) return Error(Errc::kUsage, "reading beyond the end of a file that is being pushed");
  if (!missing.empty()) return Error(Errc::kNotFound, "bytes of a file that is being pushed are not here");
  if (whole && !out.empty() && kept_bytes.load(std::memory_order_relaxed) < kMaxKeptBytes) {
    auto owner = std::make_shared_for_overwrite<std::byte[]>(out.size());  // NOLINT: as KeptBytes has it
    std::copy(out.begin(), out.end(), owner.get());
    const std::span<const std::byte> bytes(owner.get(), out.size());
    keep({std::move(owner), bytes});
  }
  return {};
}

bool StoredSnapshot::copy_kept(std::span<std::byte> out) const {
  {
    const std::lock_guard lock(kept_mutex_);
    if (!kept_) return false;
    std::copy(kept_->bytes.begin(), kept_->bytes.end(), out.begin());
  }
  if (kept_bytes.load(std::memory_order_relaxed) > kMaxKeptBytes) static_cast<void>(take_kept());
  return true;
}

std::optional<KeptBytes> StoredSnapshot::take_kept() const {
  const std::lock_guard lock(kept_mutex_);
  if (kept_) kept_bytes.fetch_sub(kept_->bytes.size(), std::memory_order_relaxed);
  return std::exchange(kept_, std::nullopt);
}

void StoredSnapshot::keep(KeptBytes bytes) const {
  const std::lock_guard lock(kept_mutex_);
  if (kept_) return;
  kept_bytes.fetch_add(bytes.bytes.size(), std::memory_order_relaxed);
  kept_ = std::move(bytes);
}

uint64_t StoredSnapshot::small_file() const {
  const uint64_t size = node_.attr.size;
  if (!layer_ || size == 0 || size > kKeptFileBytes || layer_->extents.contiguous_end(0) < size) return 0;
  const std::lock_guard lock(kept_mutex_);
  return kept_ ? 0 : layer_->block_file;
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

// Files in one transaction: nobody waits for the writer for long.
constexpr size_t kSealedAtOnce = 64;

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

using SnapshotPtr = std::shared_ptr<PushSnapshot>;

// One file, from the look at it until its snapshot is made.
class Sealing {
 public:
  Sealing(DirtyStore& store, std::shared_ptr<DirtyFile> file) : store_(store), file_(std::move(file)) {}

  // Before anything else; false: somebody else changes it now.
  bool try_lock() {
    lock_ = std::unique_lock(file_->changes(), std::try_to_lock);
    return lock_.owns_lock();
  }
  void lock() { lock_ = std::unique_lock(file_->changes()); }

  // Without a transaction.
  Result<void> look() {
    if (file_->snapshot_lives) return Error(Errc::kRefused, "the file is being pushed already");
    // What an earlier push left.
    if (auto done = settle_sealed(store_, *file_); !done) return done;
    auto view = file_->view();
    if (!view) return view.error();
    view_ = *view;
    return {};
  }

  // kNotFound, kUsage: nothing was written.
  Result<void> seal(Transaction& transaction) {
    if (!file_->is_current(view_)) return Error(Errc::kNotFound, "the changes of the file were dropped");
    auto found = find_difference(transaction.db(), file_->node());
    if (!found) return found.error();
    found_ = std::move(*found);
    if (!view_.open) return {};
    const uint64_t size = found_.node.attr.size;
    if (auto done = seal_layer(transaction, file_->node(), size); !done) return done;
    sealed_ = true;
    transaction.aftermath().then.emplace_back([file = file_, size] {
      file->change([&](DirtyState& state) {
        state.sealed = std::move(state.open);
        state.sealed->size = size;
        state.open.reset();
        state.cut_synced = false;
      });
    });
    return {};
  }
  bool sealed() const { return sealed_; }

  // Once the transaction is committed, if it sealed anything.
  SnapshotPtr snapshot() const {
    auto layer = file_->look([](const DirtyState& state) { return state.sealed; });
    return std::make_shared<StoredSnapshot>(store_, file_, view_, found_.node, found_.base, std::move(layer));
  }

 private:
  DirtyStore& store_;
  std::shared_ptr<DirtyFile> file_;
  std::unique_lock<std::mutex> lock_;
  DirtyFile::View view_;
  Found found_;
  bool sealed_ = false;
};

Result<SnapshotPtr> take_snapshot(DirtyStore& store, const std::shared_ptr<DirtyFile>& file) {
  Sealing one(store, file);
  one.lock();
  if (auto done = one.look(); !done) return done.error();
  auto transaction = store.writer.begin();
  if (!transaction) return transaction.error();
  if (auto done = one.seal(**transaction); !done) return done.error();
  if (one.sealed()) {
    if (auto done = (*transaction)->commit(); !done) return done.error();
  }
  return one.snapshot();
}

// Those that can be are sealed, in one transaction.
void take_together(DirtyStore& store, std::span<const std::shared_ptr<DirtyFile>> files,
                   std::span<std::optional<Result<SnapshotPtr>>> out) {
  std::deque<Sealing> sealings;
  std::vector<std::pair<Sealing*, size_t>> chosen;
  for (size_t i = 0; i < files.size(); ++i) {
    const auto before = files.first(i);
    if (std::find(before.begin(), before.end(), files[i]) != before.end()) continue;
    // Nobody who waits for one of these files may have to wait for another of them first.
    Sealing& one = sealings.emplace_back(store, files[i]);
    if (!one.try_lock()) continue;
    if (auto looked = one.look(); looked) {
      chosen.emplace_back(&one, i);
    } else {
      out[i] = looked.error();
    }
  }
  auto transaction = store.writer.begin();
  if (!transaction) return;
  for (const auto& [one, i] : chosen) {
    const auto sealed = one->seal(**transaction);
    if (sealed) continue;
    const Errc code = sealed.error().code();
    if (code != Errc::kNotFound && code != Errc::kUsage) return;
    out[i] = sealed.error();
  }
  const bool some =
      std::any_of(chosen.begin(), chosen.end(), [](const auto& one) { return one.first->sealed(); });
  if (some && !(*transaction)->commit()) return;
  for (const auto& [one, i] : chosen) {
    if (!out[i]) out[i] = one->snapshot();
  }
}

}  // namespace

// One of them is read as well when it is asked for, by a descriptor that may be open.
void keep_small(DirtyStore& store, std::span<const StoredSnapshot* const> snapshots) {
  std::vector<const StoredSnapshot*> small;
  std::vector<std::string> paths;
  uint64_t bytes = 0;
  for (const StoredSnapshot* const one : snapshots) {
    const uint64_t file = one->small_file();
    if (file == 0) continue;
    small.push_back(one);
    paths.push_back(store.directory.block_file(file));
    bytes += one->node().attr.size;
  }
  if (small.size() < 2) return;
  const auto owner = std::make_shared_for_overwrite<std::byte[]>(bytes);  // NOLINT: as KeptBytes has it
  std::vector<FileLoad> loads(small.size());
  std::span<std::byte> left(owner.get(), bytes);
  for (size_t i = 0; i < small.size(); ++i) {
    const uint64_t size = small[i]->node().attr.size;
    loads[i].path = paths[i].c_str();
    loads[i].into = left.first(size);
    left = left.subspan(size);
  }
  store.batch.load(loads);
  for (size_t i = 0; i < small.size(); ++i) {
    if (loads[i].error == 0 && loads[i].got == loads[i].into.size()) small[i]->keep({owner, loads[i].into});
  }
}

std::vector<Result<std::shared_ptr<PushSnapshot>>> take_snapshots(
    DirtyStore& store, std::span<const std::shared_ptr<DirtyFile>> files) {
  std::vector<std::optional<Result<SnapshotPtr>>> taken(files.size());
  for (size_t at = 0; at < files.size(); at += kSealedAtOnce) {
    const size_t count = std::min(kSealedAtOnce, files.size() - at);
    if (count > 1) take_together(store, files.subspan(at, count), std::span(taken).subspan(at, count));
  }
  std::vector<Result<SnapshotPtr>> out;
  out.reserve(files.size());
  for (size_t i = 0; i < files.size(); ++i)
    out.push_back(taken[i] ? std::move(*taken[i]) : take_snapshot(store, files[i]));
  return out;
}

}  // namespace rsyncfs
