// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/file_change.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

#include "sync/replica/base_rows.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/former_names.h"
#include "sync/replica/layer_file.h"
#include "sync/replica/lent_file.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/write_all.h"

namespace rsyncfs {
namespace {

// How often the layers may be dropped under the one who changes them.
constexpr int kMaxAttempts = 100;
constexpr uint64_t kMaxFileBytes = std::numeric_limits<int64_t>::max();
// Of a lent file and what is known of it: in such pieces, and so much with others kept from changing it.
constexpr uint64_t kComparedBytes = 64 << 10;
constexpr uint64_t kComparedAtOnceBytes = 16 << 20;

bool too_large(uint64_t offset, uint64_t length) {
  return offset > kMaxFileBytes || length > kMaxFileBytes - offset;
}

Result<void> check_type(const Node& node) {
  if (S_ISREG(node.attr.mode)) return {};
  return Error::os(S_ISDIR(node.attr.mode) ? EISDIR : EINVAL,
                   "changing the bytes of something that is no file");
}

}  // namespace

FileChange::~FileChange() {
  if (created_ == 0) return;
  if (!recorded_) store_.files.forget(created_);
  store_.contents.block_files().closed(created_);
}

Result<Node> FileChange::write(uint64_t offset, std::span<const std::byte> data) {
  if (too_large(offset, data.size())) return Error::os(EFBIG, "writing a file");
  return run([&](const View& view) { return write_now(view, offset, data); },
             [&](LentFile& lent, const Node& /*node*/) { return lent.write(offset, data); });
}

Result<Node> FileChange::resize(uint64_t size) {
  if (too_large(size, 0)) return Error::os(EFBIG, "resizing a file");
  return run([&](const View& view) { return resize_now(view, size); },
             [&](LentFile& lent, const Node& /*node*/) { return lent.resize(size); });
}

Result<Node> FileChange::allocate(AllocateMode mode, uint64_t offset, uint64_t length) {
  if (length == 0) return Error::os(EINVAL, "allocating space for a file");
  if (too_large(offset, length)) return Error::os(EFBIG, "allocating space for a file");
  return run(
      [&](const View& view) { return allocate_now(view, mode, offset, length); },
      [&](LentFile& lent, const Node& node) { return lent.allocate(mode, offset, length, node.attr.size); });
}

Result<bool> FileChange::take_mapped(const LentFile& lent, uint64_t& position) {
  const uint64_t begin = position;
  uint64_t size = 0;
  const auto taken = run(
      [&](const View& view) {
        position = begin;
        size = view.size;
        return mapped_now(view, lent, position);
      },
      nullptr);
  if (!taken) return taken.error();
  return position < size;
}

Result<Node> FileChange::run(const Act& act, const Follow& follow) {
  std::lock_guard lock(file_.changes());
  const auto lent = store_.contents.lent(file_.node());
  if (lent) {
    if (auto done = store_.contents.move_from(*lent); !done) return done.error();
  }
  auto node = run_alone(act);
  if (!node || !lent || !follow) return node;
  auto followed = follow(*lent, *node);
  return followed ? node : followed.error();
}

// With changes().
Result<Node> FileChange::run_alone(const Act& act) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    auto view = file_.view();
    if (!view) return view.error();
    auto effect = act(*view);
    note_space(*view);
    if (!effect) return effect.error();
    auto node = record(*view, *effect);
    if (!node) return node.error();
    if (node->has_value()) return **node;
  }
  return Error(Errc::kLimit, "a file changes all the time").with_errno(EIO);
}

void FileChange::note_space(const View& view) const {
  const uint64_t file = created_ != 0 ? created_ : view.open ? view.open->block_file : 0;
  if (file != 0) store_.contents.block_files().changed(file);
}

Result<SharedFd> FileChange::layer_file(const View& view) {
  if (view.open && view.open->block_file != 0) return store_.files.open(view.open->block_file);
  if (created_ != 0) return store_.files.open(created_);
  auto created = store_.contents.block_files().create(0);
  if (!created) return created.error();
  created_ = created->id;
  return store_.files.keep(created_, std::move(created->fd));
}

Result<void> FileChange::zero(const View& view, uint64_t begin, uint64_t end) {
  auto fd = layer_file(view);
  if (!fd) return fd.error();
  // What a power cut may bring back must be found as it was.
  if (view.cut_synced && !log_synced_) {
    if (auto done = sync_log(store_.directory); !done) return done;
    log_synced_ = true;
  }
  return make_zeros((*fd)->get(), begin, end);
}

Result<FileChange::Effect> FileChange::write_now(const View& view, uint64_t offset,
                                                 std::span<const std::byte> data) {
  Effect effect;
  effect.size = view.size;
  if (data.empty()) {
    effect.times = false;
    return effect;
  }
  const uint64_t end = offset + data.size();
  if (offset > view.size) {
    if (auto done = zero(view, view.size, offset); !done) return done.error();
  }
  auto fd = layer_file(view);
  if (!fd) return fd.error();
  if (auto done = write_all((*fd)->get(), data, offset, "writing a file"); !done) return done.error();
  effect.size = std::max(view.size, end);
  effect.covered = {std::min(offset, view.size), end};
  return effect;
}

Result<FileChange::Effect> FileChange::resize_now(const View& view, uint64_t size) {
  Effect effect;
  effect.size = size;
  if (size <= view.size) return effect;
  if (auto done = zero(view, view.size, size); !done) return done.error();
  effect.covered = {view.size, size};
  return effect;
}

Result<FileChange::Effect> FileChange::allocate_now(const View& view, AllocateMode mode, uint64_t offset,
                                                    uint64_t length) {
  if (mode == AllocateMode::kAllocate || mode == AllocateMode::kAllocateKeepSize)
    return reserve(view, mode, offset, length);
  Effect effect;
  effect.size = view.size;
  const bool grows = mode == AllocateMode::kZeroRange;
  const uint64_t end = grows ? offset + length : std::min(offset + length, view.size);
  const uint64_t begin = std::min(offset, view.size);
  if (begin >= end) {
    effect.times = false;
    return effect;
  }
  if (auto done = zero(view, begin, end); !done) return done.error();
  effect.size = std::max(view.size, end);
  effect.covered = {begin, end};
  return effect;
}

// Only changes() keeps what is compared as it is, so it is held for a while only.
Result<FileChange::Effect> FileChange::mapped_now(const View& view, const LentFile& lent,
                                                  uint64_t& position) {
  Effect none;
  none.size = view.size;
  none.times = false;
  std::vector<std::byte> mapped(kComparedBytes);
  std::vector<std::byte> known(kComparedBytes);
  const uint64_t end = std::min(view.size, position + kComparedAtOnceBytes);
  while (position < end) {
    const size_t length = std::min<uint64_t>(kComparedBytes, view.size - position);
    const uint64_t offset = std::exchange(position, position + length);
    auto got = lent.read(offset, std::span(mapped).first(length));
    if (!got) return got.error();
    std::vector<ExtentSet::Range> missing;
    auto here = file_.read(offset, std::span(known).first(length), missing, nullptr);
    if (!here) return here.error();
    // What the disk has lost since cannot be compared.
    if (!missing.empty() || *got < length || *here < length) continue;
    const auto differs =
        std::mismatch(mapped.begin(), mapped.begin() + static_cast<std::ptrdiff_t>(length), known.begin());
    const auto first = static_cast<size_t>(differs.first - mapped.begin());
    if (first == length) continue;
    size_t last = length;
    while (mapped[last - 1] == known[last - 1]) --last;
    return write_now(view, offset + first, std::span(mapped).subspan(first, last - first));
  }
  return none;
}

// Space is taken where later writes will go: in the layer. A file that is not changed otherwise is left
// alone.
Result<FileChange::Effect> FileChange::reserve(const View& view, AllocateMode mode, uint64_t offset,
                                               uint64_t length) {
  Effect effect;
  effect.size = view.size;
  effect.times = false;
  const uint64_t end = offset + length;
  const bool grows = mode == AllocateMode::kAllocate && end > view.size;
  if (!grows && !view.open && !view.absent) return effect;
  if (grows) {
    if (auto done = zero(view, view.size, end); !done) return done.error();
    effect.size = end;
    effect.covered = {view.size, end};
    effect.times = true;
  }
  auto fd = layer_file(view);
  if (!fd) return fd.error();
  effect.layer = true;
  int failed = 0;
  do {
    failed =
        fallocate((*fd)->get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (failed != 0 && errno == EINTR);
  if (failed != 0) return Error::os(errno, "allocating space for a file");
  return effect;
}

Result<std::optional<Node>> FileChange::record(const View& view, const Effect& effect) {
  auto transaction = store_.writer.begin();
  if (!transaction) return transaction.error();
  if (!file_.is_current(view)) return std::optional<Node>();
  auto found = find_node((*transaction)->db(), file_.node());
  if (!found) return found.error();
  if (!found->has_value()) return Error(Errc::kNotFound, "no such node").with_errno(ESTALE);
  Node node = **found;
  if (auto done = check_type(node); !done) return done.error();
  if (node.attr.size != view.size) return std::optional<Node>();
  const bool shrinks = effect.size < view.size;
  const bool layer = effect.layer || shrinks || effect.covered.begin < effect.covered.end;
  if (!layer && !effect.times) return std::optional<Node>(node);
  if (layer && node.orphan) {
    if (auto done = adopt(**transaction, view, effect, node); !done) return done.error();
  }
  uint32_t differences = 0;
  if (layer) differences |= kBytesDiffer;
  if (effect.times) differences |= kMtimeDiffers;
  if ((node.attr.mode & clear_permissions_) != 0) differences |= kModeDiffers;
  if (auto done = note_difference(**transaction, node, differences); !done) return done.error();
  if (layer) {
    if (auto done = record_layer(**transaction, view, effect); !done) return done.error();
  }
  node.attr.size = effect.size;
  node.attr.mode &= ~clear_permissions_;
  node.differences |= differences;
  node.ctime = FileTime::now();
  if (effect.times) {
    node.attr.mtime_s = node.ctime->s;
    node.attr.mtime_ns = node.ctime->ns;
  }
  if (auto done = update_node(**transaction, node); !done) return done.error();
  if (layer) (*transaction)->aftermath().then.emplace_back([&] { take_effect(view, effect); });
  if (auto done = (*transaction)->commit(); !done) return done.error();
  return std::optional<Node>(node);
}

Result<void> FileChange::adopt(Transaction& transaction, const View& view, const Effect& effect, Node& node) {
  auto former = find_former_name(transaction.db(), node.id);
  if (!former) return former.error();
  if (!former->has_value()) return {};
  // Nobody has the rest of what is not here any more.
  const uint64_t base_limit = std::min(view.open ? view.open->base_limit : view.size, effect.size);
  if (base_limit > 0) {
    auto content = find_content(transaction.db(), node.id);
    if (!content) return content.error();
    if (!content->has_value() || !(*content)->sound || !(*content)->complete)
      return Error(Errc::kNotFound, "the source has another version, and this one is not all here")
          .with_errno(ESTALE);
  }
  auto adopted = adopt_former_name(transaction, node);
  if (!adopted) return adopted.error();
  new_name_ = std::move(*adopted);
  auto now = find_node(transaction.db(), node.id);
  if (!now) return now.error();
  node = **now;
  return {};
}

Result<void> FileChange::record_layer(Transaction& transaction, const View& view, const Effect& effect) {
  row_ = view.open.value_or(LayerRow{file_.node(), kOpenLayer, 0, 0, view.size, std::nullopt});
  row_.base_limit = std::min(row_.base_limit, effect.size);
  if (created_ != 0 && row_.block_file == 0) row_.block_file = created_;
  cut_synced_ = false;
  bool empties = false;
  file_.look([&](const DirtyState& state) {
    static const LayerExtents kNone;
    const LayerExtents& extents = state.open ? state.open->extents : kNone;
    if (effect.size < view.size) {
      plan_ = extents.plan_cut(effect.size);
      cut_synced_ = extents.synced_from(effect.size);
      empties = static_cast<int64_t>(extents.bytes()) + plan_.bytes == 0;
    } else {
      plan_ = extents.plan_add(effect.covered.begin, effect.covered.end, transaction.writer().epoch());
    }
  });
  if (auto done = write_extents(transaction, row_.block_file, plan_); !done) return done;
  // With nothing left in it the file is of no more use; what comes next goes to a new one, so that the bytes
  // before stay as they are until the log is synced.
  if (empties) {
    free_layer_file(transaction, row_.block_file);
    row_.block_file = 0;
  }
  const bool row_is_there =
      view.open && view.open->block_file == row_.block_file && view.open->base_limit == row_.base_limit;
  if (!row_is_there) {
    if (auto done = put_layer(transaction, row_); !done) return done;
  }
  if (row_.block_file != 0) transaction.aftermath().written.push_back(BytesPlace{0, row_.block_file, 0});
  return {};
}

void FileChange::take_effect(const View& view, const Effect& effect) {
  recorded_ = true;
  file_.change([&](DirtyState& state) {
    if (!state.open) state.open.emplace();
    state.size = effect.size;
    if (new_name_) state.absent = true;
    state.open->base_limit = row_.base_limit;
    state.open->block_file = row_.block_file;
    state.open->extents.apply(plan_);
    state.cut_synced = (view.cut_synced && !log_synced_) || (cut_synced_ && row_.block_file != 0);
  });
}

}  // namespace rsyncfs
