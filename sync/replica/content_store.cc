// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_store.h"

#include <fcntl.h>

#include <cerrno>
#include <string>
#include <utility>

#include "io/base/log.h"
#include "sync/replica/bases.h"
#include "sync/replica/content_version.h"
#include "sync/replica/layer_file.h"
#include "sync/replica/mapped_content.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/sweep.h"

namespace rsyncfs {
namespace {

// How often a content may change under the reader that looks for it.
constexpr int kMaxAttempts = 100;
// The housekeeper has other things to do in between.
constexpr uint64_t kSumsAtOnceBytes = 64 << 20;

StoredContentWriter& stored(const Replica::FinishedContent& finished) {
  RSYNCFS_CHECK(finished.writer != nullptr);
  return static_cast<StoredContentWriter&>(*finished.writer);
}

}  // namespace

ContentStore::ContentStore(const StateDirectory& directory, Writer& writer, ReadPool& reads,
                           SyncEpochs& epochs, FileBatch& batch, size_t max_maps, uint64_t max_mapped_bytes)
    : directory_(directory),
      writer_(writer),
      reads_(reads),
      epochs_(epochs),
      usage_(std::make_shared<DiskUsage>(directory)),
      blocks_(directory, writer, batch, *usage_),
      slabs_(directory, max_maps, usage_),
      cache_(max_maps, max_mapped_bytes),
      repair_(directory, writer, reads, batch, *this),
      damage_(std::make_shared<DamageReports>([this] {
        if (housekeeper_ != nullptr) static_cast<void>(housekeeper_->post([this] { settle_all_damage(); }));
      })) {}

Result<void> ContentStore::recover() {
  if (auto done = blocks_.recover(); !done) return done;
  return slabs_.recover(writer_.db());
}

void ContentStore::start(Housekeeper& housekeeper) {
  housekeeper_ = &housekeeper;
  post([this] { sweep(); });
}

Result<std::shared_ptr<const Content>> ContentStore::content(NodeId node) {
  if (auto known = cache_.find(node)) return known;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    // Row, map and pin are only good if nothing was dropped while they were taken: bytes are freed after the
    // drop.
    const uint64_t generation = cache_.generation();
    auto row = read_row(node, true);
    if (!row) return row.error();
    if (!row->has_value()) return std::shared_ptr<const Content>();
    auto opened = open(**row);
    if (opened && cache_.insert(node, *opened, generation)) return opened;
    if (opened || generation != cache_.generation()) continue;
    if (opened.error().code() == Errc::kOs) return opened;
    distrust(node, opened.error());
    return std::shared_ptr<const Content>();
  }
  return Error(Errc::kLimit, "the content changes all the time");
}

Result<std::optional<ContentRow>> ContentStore::read_row(NodeId node, bool with_sums) const {
  auto connection = reads_.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(reads_, *connection);
  auto row = find_content(*lease, node);
  if (!with_sums || !row || !row->has_value()) return row;
  auto sums = find_sums(*lease, **row);
  if (!sums) return sums.error();
  (*row)->sums = std::move(*sums);
  return row;
}

Result<std::shared_ptr<const Content>> ContentStore::open(const ContentRow& row) {
  if (!row.sound) return Error(Errc::kCorrupt, "the description of a content is damaged");
  if (row.place.slab != 0) {
    auto slab = slabs_.map(row.place.slab);
    if (!slab) return slab.error();
    return SlabContent::make(row, std::move(*slab), damage_);
  }
  if (row.place.position == 0) return SlabContent::make(row, nullptr, damage_);
  return BlockContent::make(row, blocks_.path(row.place.position), damage_);
}

// The store lost bytes that it speaks of: they count as absent, so that they are fetched again.
void ContentStore::distrust(NodeId node, const Error& why) {
  log_error("the store lost a content, it will be fetched again: " + why.message());
  if (housekeeper_ == nullptr) return;
  const bool posted = housekeeper_->post([this, node] {
    auto transaction = writer_.begin();
    if (!transaction) return;
    // Written again in the meantime?
    auto row = find_content((*transaction)->db(), node);
    if (row && (!row->has_value() || open(**row))) return;
    writer_.seen_nodes().note(node);
    if (auto done = erase_content(**transaction, node); !done) return;
    if (auto done = (*transaction)->commit(); !done) log_error(done.error().message());
  });
  if (!posted) log_warn("too busy to forget a lost content");  // found again when it is asked for again
}

Result<void> ContentStore::settle_damage(NodeId node) {
  // Somebody may just be at it.
  const std::lock_guard one_at_a_time(settle_mutex_);
  const auto blocks = damage_->take(node);
  if (blocks.empty()) return {};
  auto settled = repair_.settle(node, blocks);
  return settled ? Result<void>() : settled.error();
}

void ContentStore::settle_all_damage() {
  const std::lock_guard one_at_a_time(settle_mutex_);
  for (const auto& [node, blocks] : damage_->take()) {
    if (auto done = repair_.settle(node, blocks); !done) log_error(done.error().message());
  }
}

void ContentStore::fill_sums(NodeId node) {
  if (housekeeper_ == nullptr) return;
  // If it has too much to do: until somebody verifies the file.
  static_cast<void>(housekeeper_->post([this, node] {
    const auto more = repair_.fill_sums(node, kSumsAtOnceBytes);
    if (!more) log_warn(more.error().message());
    if (more && *more) fill_sums(node);
  }));
}

Result<ContentState> ContentStore::state(NodeId node) const {
  auto row = read_row(node);
  if (!row) return row.error();
  if (!row->has_value() || !(*row)->sound) return ContentState();
  return ContentState{(*row)->present, (*row)->complete};
}

Result<std::unique_ptr<StoredContentWriter>> ContentStore::make_writer(
    NodeId node, uint64_t expected_size, const std::optional<FileVersion>& shown) {
  auto connection = reads_.take();
  if (!connection) return connection.error();
  const ReadPool::Lease lease(reads_, *connection);
  auto version = content_version(*lease, node);
  if (!version) return version.error();
  if (!version->has_value() && shown) {
    auto keeps = is_left_without_bytes(*lease, node);
    if (!keeps) return keeps.error();
    if (*keeps) *version = shown;
  }
  if (!version->has_value()) return Error(Errc::kNotFound, "the source has nothing of this node");
  return std::make_unique<StoredContentWriter>(*this, node, **version, expected_size);
}

Result<std::unique_ptr<ContentWriter>> ContentStore::create(NodeId node, uint64_t expected_size,
                                                            const std::optional<FileVersion>& shown) {
  auto writer = make_writer(node, expected_size, shown);
  if (!writer) return writer.error();
  if (expected_size > kSlabMaxFileBytes) {
    if (auto done = (*writer)->use_block_file(); !done) return done.error();
  }
  return std::unique_ptr<ContentWriter>(std::move(*writer));
}

Result<std::unique_ptr<ContentWriter>> ContentStore::resume(NodeId node, uint64_t expected_size) {
  const uint64_t generation = cache_.generation();
  auto row = read_row(node, true);
  if (!row) return row.error();
  const bool usable =
      row->has_value() && (*row)->sound && !(*row)->complete && (*row)->place.size == expected_size;
  if (!usable) return create(node, expected_size);
  // Also looks whether the file is as long as it should be.
  if (auto opened = open(**row); !opened && opened.error().code() != Errc::kOs)
    return create(node, expected_size);
  auto file = blocks_.reopen((*row)->place.position);
  if (!file && file.error().code() == Errc::kNotFound) return create(node, expected_size);
  if (!file) return file.error();
  if (generation != cache_.generation()) {
    // It may just have been dropped.
    blocks_.closed(file->id);
    return create(node, expected_size);
  }
  auto writer = make_writer(node, expected_size);
  if (!writer) {
    blocks_.closed(file->id);
    return writer.error();
  }
  if (auto done = (*writer)->adopt(std::move(*file), (*row)->extents, (*row)->sums); !done)
    return done.error();
  return std::unique_ptr<ContentWriter>(std::move(*writer));
}

Result<std::unique_ptr<ContentWriter>> ContentStore::extend(NodeId node, uint64_t expected_size) {
  auto before = content(node);
  if (!before) return before.error();
  auto row = read_row(node, true);
  if (!row) return row.error();
  if (!*before || !(*before)->complete() || !row->has_value() || (*row)->place.size != (*before)->size() ||
      (*before)->size() > expected_size) {
    return Error(Errc::kNotFound, "there is no content to be extended");
  }
  ExtentSet present;
  present.add(0, (*before)->size());
  if ((*row)->place.slab == 0 && (*row)->place.position != 0) {
    auto file = blocks_.reopen((*row)->place.position);
    // Readers of a lent one would see what is not proven yet.
    if (!file && !lent(node)) return file.error();
    if (file) {
      auto writer = make_writer(node, expected_size);
      if (!writer) {
        blocks_.closed(file->id);
        return writer.error();
      }
      if (auto done = (*writer)->adopt(std::move(*file), present, (*row)->sums); !done) return done.error();
      return std::unique_ptr<ContentWriter>(std::move(*writer));
    }
  }
  auto writer = create(node, expected_size);
  if (!writer || present.ranges().empty()) return writer;
  const auto bytes = (*before)->view(0, (*before)->size());
  if (!bytes) return Error(Errc::kCorrupt, "a complete content is damaged");
  if (auto done = (*writer)->write(0, *bytes); !done) return done.error();
  return writer;
}

Result<bool> ContentStore::grow(Replica::FinishedContent grown, const FileVersion& before) {
  if (grown.writer) {
    if (auto done = stored(grown).end_at(grown.size); !done) return done.error();
  }
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto node = find_node((*transaction)->db(), grown.node);
  if (!node) return node.error();
  auto old = find_content((*transaction)->db(), grown.node);
  if (!old) return old.error();
  const bool as_before = node->has_value() && !(*node)->orphan && (*node)->differences == 0 &&
                         (*node)->version() == before && old->has_value() && (*old)->sound &&
                         (*old)->complete;
  if (!as_before || (!grown.writer && (*old)->place.size != grown.size)) return false;
  ContentRow row = **old;
  auto sums = find_sums((*transaction)->db(), row);
  if (!sums) return sums.error();
  row.sums = std::move(*sums);
  bool in_slab = false;
  row.present = grown.size;
  row.digest_name = std::move(grown.digest_name);
  row.digest = std::move(grown.digest);
  if (grown.writer) {
    row.place = BytesPlace{0, stored(grown).block_file(), grown.size};
    row.sums = stored(grown).sums();
    if (in_slab = stored(grown).in_memory(); in_slab) {
      auto places = slabs_.append(**transaction, {stored(grown).bytes()});
      if (!places) return places.error();
      row.place = places->front();
    }
  }
  if (auto done = put_content(**transaction, row); !done) return done.error();
  if (const auto lent = this->lent(grown.node); lent && grown.writer) {
    // Before anybody changes it again.
    (*transaction)->aftermath().then.emplace_back([&, lent] {
      const OwnedFd from(::open(blocks_.path(row.place.position).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      auto done = from ? lent->follow_growth(from.get(), (*old)->place.size, grown.size)
                       : Result<void>(Error::os(errno, "what was added to a file"));
      if (!done) log_error(done.error().message());
    });
  }
  if (auto done = (*transaction)->commit(); !done) return done.error();
  if (in_slab) slabs_.committed();
  return true;
}

Result<bool> ContentStore::record_partial(NodeId node, const FileVersion& version, const BytesPlace& place,
                                          const ExtentSet& written, ContentSums sums) {
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  auto now = content_version((*transaction)->db(), node);
  if (!now) return now.error();
  if (*now != version) return false;
  ContentRow row;
  row.node = node;
  row.place = place;
  row.present = written.bytes();
  row.extents = written;
  row.sums = std::move(sums);
  auto old = find_content((*transaction)->db(), node);
  if (!old) return old.error();
  // What is here already stays until this one has more.
  if (old->has_value() && (*old)->sound && !(*old)->place.same_place(place) &&
      ((*old)->complete || (*old)->present > row.present)) {
    return false;
  }
  if (auto done = put_content(**transaction, row); !done) return done.error();
  if (auto done = (*transaction)->commit(); !done) return done.error();
  return true;
}

Result<void> ContentStore::finish(std::vector<Replica::FinishedContent> finished,
                                  std::vector<NodeId>& older) {
  for (const auto& item : finished) {
    if (auto done = stored(item).end_at(item.size); !done) return done;
  }
  auto transaction = writer_.begin();
  if (!transaction) return transaction.error();
  if (auto done = put_finished(**transaction, finished, older); !done) return done;
  if (auto done = (*transaction)->commit(); !done) return done;
  slabs_.committed();
  return {};
}

Result<void> ContentStore::put_finished(Transaction& transaction,
                                        std::vector<Replica::FinishedContent>& finished,
                                        std::vector<NodeId>& older) {
  std::vector<std::span<const std::byte>> small;
  for (auto& item : finished) {
    auto now = content_version(transaction.db(), item.node);
    if (!now) return now.error();
    const FileVersion version = item.version.value_or(stored(item).version());
    if (*now == version) {
      item.shown = false;
    } else {
      auto kept = item.shown && !now->has_value() ? is_left_without_bytes(transaction.db(), item.node)
                                                  : Result<bool>(false);
      if (!kept) return kept.error();
      if (!*kept) item.node = 0;  // nobody will ask for it any more
    }
    if (item.node != 0 && stored(item).in_memory() && item.size != 0) small.push_back(stored(item).bytes());
  }
  auto places = slabs_.append(transaction, small);
  if (!places) return places.error();
  auto next = places->begin();
  for (auto& item : finished) {
    if (item.node == 0) continue;
    ContentRow row;
    row.node = item.node;
    row.present = item.size;
    row.complete = true;
    row.digest_name = std::move(item.digest_name);
    row.digest = std::move(item.digest);
    row.place = BytesPlace{0, stored(item).block_file(), item.size};
    row.sums = stored(item).sums();
    if (stored(item).in_memory() && item.size != 0) row.place = *next++;
    if (auto done = put_content(transaction, row); !done) return done;
    // What the source has by now has a size of its own.
    auto sized = item.shown ? set_unwritten_size(transaction, item.node, item.size)
                            : set_content_size(transaction, item.node, item.size);
    if (!sized) return sized;
    auto basis = erase_basis(transaction, item.node);
    if (!basis) return basis.error();
    if (basis->has_value()) older.push_back(**basis);
  }
  return {};
}

Result<void> ContentStore::put_small(Transaction& transaction, std::vector<SmallContent> contents) {
  std::vector<std::span<const std::byte>> all;
  for (const SmallContent& content : contents) {
    if (!content.bytes.empty()) all.push_back(content.bytes);
  }
  auto places = slabs_.append(transaction, all);
  if (!places) return places.error();
  auto place = places->begin();
  for (SmallContent& content : contents) {
    content.row.complete = true;
    content.row.present = content.bytes.size();
    content.row.place = content.bytes.empty() ? BytesPlace() : *place++;
    content.row.sums = sums_of_small(content.bytes);
    if (auto done = put_content(transaction, content.row); !done) return done;
  }
  return {};
}

void ContentStore::committed(const Aftermath& aftermath) {
  epochs_.wrote(aftermath.written);
  for (const BytesPlace& place : aftermath.written) {
    if (place.slab != 0 || place.position == 0) continue;
    blocks_.recorded(place.position);
    blocks_.changed(place.position);
  }
  std::vector<BytesPlace> holes;
  std::vector<uint64_t> files;
  for (const BytesPlace& place : aftermath.freed) {
    if (place.slab != 0) {
      holes.push_back(place);
    } else if (blocks_.released(place.position)) {
      files.push_back(place.position);
    }
  }
  if (holes.empty() && files.empty() && aftermath.slabs_emptied.empty()) return;
  {
    std::lock_guard lock(dead_mutex_);
    const bool posted = !dead_.empty();
    dead_.holes.insert(dead_.holes.end(), holes.begin(), holes.end());
    dead_.files.insert(dead_.files.end(), files.begin(), files.end());
    dead_.slabs.insert(dead_.slabs.end(), aftermath.slabs_emptied.begin(), aftermath.slabs_emptied.end());
    if (posted) return;
  }
  post([this] { bury(); });
}

// After a power cut the rows of before may be back, and would speak of these bytes: first the commit that
// took them away must be on the disk.
void ContentStore::bury() {
  const std::lock_guard one_at_a_time(bury_mutex_);
  Dead dead;
  {
    std::lock_guard lock(dead_mutex_);
    dead = std::exchange(dead_, {});
  }
  if (dead.empty()) return;
  if (auto done = sync_log(directory_); !done) {
    log_error("dead bytes keep their space: " + done.error().message());
    return;
  }
  for (const uint64_t slab : dead.slabs) slabs_.remove(slab);
  slabs_.free(std::move(dead.holes));
  blocks_.remove(dead.files);
}

void ContentStore::sweep() {
  auto connection = reads_.take();
  if (!connection) return;
  const ReadPool::Lease lease(reads_, *connection);
  sweep_leftovers(directory_, *lease, slabs_.first_new(), blocks_.first_new());
}

void ContentStore::post(const std::function<void()>& task) {
  if (housekeeper_ == nullptr || !housekeeper_->post(task)) task();
}

}  // namespace rsyncfs
