// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_verification.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/base/xxh.h"

namespace rsyncfs {
namespace {

constexpr std::string_view kDigestName =
    "xxh128";  // what rsync 3.2 and later agree on; of others, only the sums count

}  // namespace

struct StoredVerification::Digest {
  Xxh3State state;
  // As rsync sends it: the low half first, little-endian.
  std::string finish() const {
    const Xxh128 hash = state.digest_128();
    std::string out(2 * sizeof(uint64_t), '\0');
    std::memcpy(out.data(), &hash.low, sizeof hash.low);
    std::memcpy(out.data() + sizeof hash.low, &hash.high, sizeof hash.high);
    return out;
  }
};

StoredVerification::StoredVerification(ContentRepair& repair, ContentRow row,
                                       std::shared_ptr<const Content> content, PlaceInFile place,
                                       FileBatch& batch)
    : repair_(repair),
      row_(std::move(row)),
      content_(std::move(content)),
      place_(std::move(place)),
      reads_(batch),
      sums_(row_.sums) {
  check_.was_complete = row_.complete;
  if (row_.complete && row_.digest_name == kDigestName && !sums_.knows_all()) {
    digest_ = std::make_unique<Digest>();
  }
}

StoredVerification::~StoredVerification() = default;

Result<bool> StoredVerification::step(uint64_t bytes) {
  uint64_t looked = 0;
  if (ahead_) {
    look_at(*ahead_, ahead_read_);
    looked += ahead_->length();
    position_ = ahead_->range.end;
    ahead_.reset();
  }
  while (next_part()) {
    if (looked >= bytes) return true;
    if (auto done = open(); !done) return done.error();
    auto some = look_at_some(bytes - looked);
    if (!some) return some.error();
    looked += *some;
  }
  if (auto done = finish(); !done) return done.error();
  return false;
}

bool StoredVerification::ask_ahead(DiskReads& reads) {
  ahead_ = next_part();
  // What is wrong with the file, the step finds out.
  const bool asked =
      ahead_ && open() && file_ && reads.add(*file_, place_.offset + ahead_->range.begin, ahead_->length());
  if (!asked) ahead_.reset();
  return asked;
}

void StoredVerification::take_ahead(const DiskReads::Part& read) {
  ahead_read_ = read;
  if (!read.good()) return;
  ahead_bytes_.assign(read.span().begin(), read.span().end());
  ahead_read_.bytes = ahead_bytes_.data();
}

// The bytes of one block, or as many of it as are here, from position_ on.
std::optional<StoredVerification::Part> StoredVerification::next_part() {
  const auto& ranges = content_->extents().ranges();
  for (; range_ < ranges.size(); ++range_) {
    const auto& range = ranges[range_];
    position_ = std::max(position_, range.begin);
    if (position_ >= range.end) continue;
    // Too large for sums: its parts are looked at all the same.
    const uint64_t length = sums_.block_bytes();
    const uint64_t end = std::min(range.end, (position_ / length + 1) * length);
    return Part{sums_.block_at(position_), {position_, end}};
  }
  return std::nullopt;
}

Result<void> StoredVerification::open() {
  if (file_ || missing_) return {};
  auto file = DiskReader::open(place_.path);
  // A file that somebody has removed is as bad as one that can't be read.
  missing_ = !file && file.error().code() == Errc::kNotFound;
  if (!file && !missing_) return file.error();
  if (file) file_ = std::move(*file);
  return {};
}

// As many parts as can be read at once; how many bytes they have.
Result<uint64_t> StoredVerification::look_at_some(uint64_t most_bytes) {
  std::vector<Part> parts;
  uint64_t bytes = 0;
  while (bytes < most_bytes) {
    const auto part = next_part();
    if (!part || (file_ && !reads_.add(*file_, place_.offset + part->range.begin, part->length()))) break;
    parts.push_back(*part);
    bytes += part->length();
    position_ = part->range.end;
  }
  if (!file_) {
    for (const Part& part : parts) look_at(part, {});
    return bytes;
  }
  const auto& read = reads_.run();
  for (size_t i = 0; i < parts.size(); ++i) look_at(parts[i], read[i]);
  return bytes;
}

void StoredVerification::look_at(const Part& part, const DiskReads::Part& read) {
  check_.checked_bytes += part.length();
  if (!read.good()) {
    suspects_.push_back(part.block);
    digest_.reset();
    return;
  }
  if (digest_) digest_->state.update({read.bytes, read.length});
  if (sums_.knows(part.block)) {
    if (!sums_.matches(part.block, read.span())) suspects_.push_back(part.block);
  } else if (const auto whole = sums_.range_of(part.block); whole == part.range) {
    sums_.set(part.block, content_sum(read.span()));
  }
}

Result<void> StoredVerification::finish() {
  if (!suspects_.empty()) {
    auto damaged = repair_.settle(row_.node, suspects_);
    if (!damaged) return damaged.error();
    check_.damaged_bytes = *damaged;
    return {};
  }
  if (digest_ && digest_->finish() != row_.digest) {
    auto damaged = repair_.drop(row_.node, content_);
    if (!damaged) return damaged.error();
    check_.damaged_bytes = *damaged;
    return {};
  }
  if (sums_ == row_.sums) return {};
  auto added = repair_.add_sums(row_.node, content_, sums_);
  return added ? Result<void>() : added.error();
}

}  // namespace rsyncfs
