// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/push_finish.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sync/replica/base_rows.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/layer_file.h"
#include "sync/replica/layer_merge.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

// So much of the base is rather copied than that the layer is merged into it.
constexpr uint64_t kMaxCopiedUp = 1 << 20;

Error dropped() {
  return Error(Errc::kNotFound, "the changes of the file were dropped while it was pushed");
}

// After read_small(), in one transaction; those whose changes were dropped are returned.
Result<std::vector<PushFinish*>> finish_small(DirtyStore& store, const std::vector<PushFinish*>& small) {
  std::vector<PushFinish*> left;
  std::vector<PushFinish*> current;
  std::vector<ContentStore::SmallContent> contents;
  auto transaction = store.writer.begin();
  if (!transaction) return transaction.error();
  for (PushFinish* const one : small) (one->is_current() ? current : left).push_back(one);
  if (current.empty()) return left;
  for (PushFinish* const one : current) {
    if (auto content = one->small_content()) contents.push_back(std::move(*content));
  }
  const bool any = !contents.empty();
  if (any) {
    if (auto done = store.contents.put_small(**transaction, std::move(contents)); !done) return done.error();
  }
  for (PushFinish* const one : current) {
    if (auto done = one->end_small(**transaction); !done) return done.error();
  }
  if (auto done = (*transaction)->commit(); !done) return done.error();
  if (any) store.contents.small_stored();
  return left;
}

}  // namespace

PushFinish::PushFinish(DirtyStore& store, const StoredSnapshot& snapshot, const BaseNode& now,
                       FileDigest digest, const std::vector<Binding>& names)
    : store_(store),
      snapshot_(snapshot),
      now_(now),
      digest_(std::move(digest)),
      names_(names),
      size_(snapshot.node().attr.size) {
  if (!snapshot.layer()) return;
  row_.node = snapshot.node().id;
  row_.number = kSealedLayer;
  row_.block_file = snapshot.layer()->block_file;
  row_.size = size_;
  row_.base_limit = snapshot.layer()->base_limit;
}

Result<void> PushFinish::run() {
  Result<void> done = adopt();
  if (done || snapshot_.file().is_current(snapshot_.view())) return done;
  auto transaction = store_.writer.begin();
  return transaction ? of_removed(**transaction) : transaction.error();
}

Result<void> PushFinish::adopt() {
  if (!snapshot_.layer()) return without_layer();
  if (size_ <= kSlabMaxFileBytes) return as_small();
  auto whole = make_whole();
  if (!whole) return whole.error();
  return *whole ? as_content() : into_content();
}

ContentRow PushFinish::content_row() const {
  ContentRow row;
  row.node = snapshot_.node().id;
  row.digest_name = digest_.name;
  row.digest = digest_.bytes;
  return row;
}

// Names lead where they lead at the source now; what still differs of the file came after the snapshot.
Result<void> PushFinish::bind_names(Transaction& transaction) {
  if (auto done = transaction.inherit_age(); !done) return done;
  if (const auto& changed = snapshot_.node().ctime) {
    const int64_t changed_ms = changed->s * 1000 + changed->ns / 1'000'000;
    if (auto done = note_pushed_until(transaction, snapshot_.node().id, changed_ms); !done) return done;
  }
  for (const Binding& binding : names_) {
    auto local = find_name(transaction.db(), binding.parent, binding.name);
    if (!local) return local.error();
    auto done = put_base_name(transaction, binding.parent, binding.name, binding.node,
                              local->has_value() ? (*local)->id : 0);
    if (!done) return done;
  }
  return {};
}

// Users removed the file while it was on its way: what the source has of it is still to go.
Result<void> PushFinish::of_removed(Transaction& transaction) {
  auto node = find_node(transaction.db(), snapshot_.node().id);
  if (!node) return node.error();
  if (node->has_value()) return dropped();
  if (auto done = put_base_node(transaction, now_); !done) return done;
  if (auto done = bind_names(transaction); !done) return done;
  return transaction.commit();
}

Result<void> PushFinish::without_layer() {
  auto transaction = store_.writer.begin();
  if (!transaction) return transaction.error();
  auto node = find_node((*transaction)->db(), snapshot_.node().id);
  if (!node) return node.error();
  if (!node->has_value()) return of_removed(**transaction);
  auto content = find_content((*transaction)->db(), snapshot_.node().id);
  if (!content) return content.error();
  if (size_ == 0 && !content->has_value()) {
    if (auto done = store_.contents.put_small(**transaction, {{content_row(), {}}}); !done) return done;
  }
  if (auto done = bind_names(**transaction); !done) return done;
  if (auto done = put_base_node(**transaction, now_); !done) return done;
  return (*transaction)->commit();
}

Result<void> PushFinish::read_small() {
  if (auto kept = snapshot_.take_kept()) {
    small_ = std::move(*kept);
    return {};
  }
  auto owner = std::make_shared_for_overwrite<std::byte[]>(size_);  // NOLINT: as KeptBytes has it
  const std::span<std::byte> bytes(owner.get(), size_);
  auto here = snapshot_.read(0, bytes);
  if (!here && here.error().code() != Errc::kNotFound) return here;
  if (here) small_ = KeptBytes{std::move(owner), bytes};
  // It is here now.
  static_cast<void>(snapshot_.take_kept());
  return {};
}

std::optional<ContentStore::SmallContent> PushFinish::small_content() const {
  if (!small_) return std::nullopt;
  return ContentStore::SmallContent{content_row(), small_->bytes};
}

Result<void> PushFinish::end_small(Transaction& transaction) {
  // Of a part there is no small content; it is fetched when it is asked for.
  auto done = small_ ? Result<void>() : erase_content(transaction, snapshot_.node().id);
  if (done) done = bind_names(transaction);
  return done ? erase_sealed(transaction, snapshot_.file(), row_, LayerFile::kFreed, now_) : done;
}

Result<void> PushFinish::as_small() {
  if (auto done = read_small(); !done) return done;
  const auto left = finish_small(store_, {this});
  if (!left) return left.error();
  return left->empty() ? Result<void>() : dropped();
}

// What goes wrong with one of them, run() tells, and does not keep the others from being done.
std::vector<PushFinish*> finish_together(DirtyStore& store, std::vector<PushFinish*> small) {
  if (small.size() < 2) return small;
  std::vector<const StoredSnapshot*> snapshots;
  for (PushFinish* const one : small) snapshots.push_back(&one->snapshot());
  keep_small(store, snapshots);
  for (PushFinish* const one : small) {
    if (!one->read_small()) return small;
  }
  auto left = finish_small(store, small);
  return left ? std::move(*left) : small;
}

// The bytes of the base that show through the layer are copied to where they belong, where nobody looks.
Result<bool> PushFinish::make_whole() {
  const Layer& layer = *snapshot_.layer();
  if (layer.block_file == 0) return false;
  const uint64_t shown = std::min(layer.base_limit, size_);
  std::vector<ExtentSet::Range> gaps = layer.extents.ranges().missing(0, shown);
  uint64_t sum = 0;
  for (const auto& gap : gaps) sum += gap.end - gap.begin;
  std::vector<ExtentSet::Range> missing;
  if (sum > kMaxCopiedUp) return false;
  LayerStack stack = snapshot_.stack();
  if (auto done = stack.find_missing(0, shown, missing); !done) return done.error();
  if (!missing.empty()) return false;
  auto fd = store_.files.open(layer.block_file);
  if (!fd) return fd.error();
  for (const auto& gap : gaps) {
    std::vector<std::byte> bytes(gap.end - gap.begin);
    if (auto done = stack.read_base(gap.begin, bytes, missing, nullptr); !done) return done.error();
    // Given up meanwhile, or no space: it is not needed for what there is to be done.
    if (!missing.empty() || !write_all((*fd)->get(), bytes, gap.begin, "writing a content")) return false;
  }
  return true;
}

Result<void> PushFinish::as_content() {
  auto fd = store_.files.open(row_.block_file);
  if (!fd) return fd.error();
  auto length = file_length((*fd)->get());
  if (!length) return length.error();
  if (*length > size_) {
    // What was cut off may be back after a power cut, as long as the log is not synced.
    if (auto done = sync_log(store_.directory); !done) return done;
  }
  if (*length != size_ && ftruncate((*fd)->get(), static_cast<off_t>(size_)) != 0)
    return Error::os(errno, "ending a content");
  auto transaction = store_.writer.begin();
  if (!transaction) return transaction.error();
  if (!snapshot_.file().is_current(snapshot_.view())) return dropped();
  ContentRow row = content_row();
  row.place = BytesPlace{0, row_.block_file, size_};
  row.present = size_;
  row.complete = true;
  if (auto done = put_content(**transaction, row); !done) return done;
  if (auto done = bind_names(**transaction); !done) return done;
  if (auto done = end_sealed(**transaction, snapshot_.file(), row_, LayerFile::kKept, now_); !done)
    return done;
  store_.contents.fill_sums(row_.node);
  return {};
}

// Before the first byte of the content changes: whoever compares it from now on must not find it damaged.
Result<void> PushFinish::forget_sums(Transaction& transaction) {
  auto content = find_content(transaction.db(), row_.node);
  if (!content) return content.error();
  if (!content->has_value() || !(*content)->sound) return {};
  auto sums = sums_beside(transaction.db(), **content, *snapshot_.layer());
  if (!sums) return sums.error();
  sums->resize((*content)->place.size);
  return put_sums(transaction, row_.node, *sums);
}

Result<void> PushFinish::into_content() {
  {
    auto transaction = store_.writer.begin();
    if (!transaction) return transaction.error();
    if (!snapshot_.file().is_current(snapshot_.view())) return dropped();
    row_.acknowledged = digest_;
    if (auto done = put_layer(**transaction, row_); !done) return done;
    if (auto done = forget_sums(**transaction); !done) return done;
    if (auto done = bind_names(**transaction); !done) return done;
    if (auto done = put_base_node(**transaction, now_); !done) return done;
    (*transaction)->aftermath().then.emplace_back([this] {
      snapshot_.file().change([this](DirtyState& state) { state.acknowledged = digest_; });
    });
    if (auto done = (*transaction)->commit(); !done) return done;
  }
  return finish_acknowledged(store_, snapshot_.file());
}

}  // namespace rsyncfs
