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
                                       std::shared_ptr<const Content> content, PlaceInFile place)
    : repair_(repair),
      row_(std::move(row)),
      content_(std::move(content)),
      place_(std::move(place)),
      sums_(row_.sums) {
  check_.was_complete = row_.complete;
  if (row_.complete && row_.digest_name == kDigestName && !sums_.knows_all()) {
    digest_ = std::make_unique<Digest>();
  }
}

StoredVerification::~StoredVerification() = default;

Result<bool> StoredVerification::step(uint64_t bytes) {
  const auto& ranges = content_->extents().ranges();
  // Too large for sums: its parts are looked at all the same.
  const uint64_t length = sums_.block_bytes();
  for (uint64_t looked = 0; range_ < ranges.size();) {
    const auto& range = ranges[range_];
    position_ = std::max(position_, range.begin);
    if (position_ >= range.end) {
      ++range_;
      continue;
    }
    if (looked >= bytes) return true;
    const uint64_t end = std::min(range.end, (position_ / length + 1) * length);
    if (auto done = look_at(sums_.block_at(position_), {position_, end}); !done) return done.error();
    looked += end - position_;
    position_ = end;
  }
  if (auto done = finish(); !done) return done.error();
  return false;
}

Result<void> StoredVerification::look_at(size_t block, const ExtentSet::Range& part) {
  if (!file_) {
    auto file = DiskReader::open(place_.path);
    // A file that somebody has removed is as bad as one that can't be read.
    if (!file && file.error().code() != Errc::kNotFound) return file.error();
    if (file) file_ = std::move(*file);
  }
  bytes_.resize(part.end - part.begin);
  check_.checked_bytes += bytes_.size();
  if (!file_ || !file_->read(place_.offset + part.begin, bytes_)) {
    suspects_.push_back(block);
    digest_.reset();
    return {};
  }
  if (digest_) digest_->state.update(bytes_);
  if (sums_.knows(block)) {
    if (!sums_.matches(block, bytes_)) suspects_.push_back(block);
  } else if (const auto whole = sums_.range_of(block); whole == part) {
    sums_.set(block, content_sum(bytes_));
  }
  return {};
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
