// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/content_sums.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "io/base/xxh.h"
#include "sync/replica/varint.h"

namespace rsyncfs {
namespace {

static_assert(std::endian::native == std::endian::little);

// 0 stands for a sum that is not known.
uint64_t kept(uint64_t sum) {
  return sum == 0 ? 1 : sum;
}

}  // namespace

uint64_t content_sum(std::span<const std::byte> block) {
  return kept(xxh3_64(block));
}

ContentSums sums_of_small(std::span<const std::byte> bytes) {
  ContentSums out(bytes.size());
  if (!bytes.empty()) out.set(0, content_sum(bytes));
  return out;
}

uint64_t ContentSums::block_bytes() const {
  return size_ > kLongSumsFromBytes ? kLongSumBlockBytes : kSumBlockBytes;
}

size_t ContentSums::blocks() const {
  if (size_ > kMaxSummedBytes) return 0;
  return static_cast<size_t>((size_ + block_bytes() - 1) / block_bytes());
}

ExtentSet::Range ContentSums::range_of(size_t block) const {
  const uint64_t begin = block * block_bytes();
  return {begin, std::min(begin + block_bytes(), size_)};
}

bool ContentSums::knows_all() const {
  return sums_.size() == blocks() && std::ranges::find(sums_, uint64_t{0}) == sums_.end();
}

void ContentSums::set(size_t block, uint64_t sum) {
  if (block >= blocks()) return;
  if (block >= sums_.size()) sums_.resize(block + 1);
  sums_[block] = kept(sum);
}

void ContentSums::forget(uint64_t begin, uint64_t end) {
  if (begin >= end || sums_.empty()) return;
  const size_t last = std::min<uint64_t>((end - 1) / block_bytes() + 1, sums_.size());
  for (size_t block = block_at(begin); block < last; ++block) sums_[block] = 0;
  trim();
}

void ContentSums::keep_only(const ExtentSet& present) {
  for (size_t block = 0; block < sums_.size(); ++block) {
    const auto range = range_of(block);
    if (sums_[block] != 0 && !present.covers(range.begin, range.end)) sums_[block] = 0;
  }
  trim();
}

void ContentSums::resize(uint64_t size) {
  if (size == size_) return;
  const uint64_t whole = std::min(size, size_) / block_bytes();
  const uint64_t before = block_bytes();
  size_ = size;
  if (block_bytes() != before || blocks() == 0) {
    sums_.clear();
  } else if (sums_.size() > whole) {
    sums_.resize(whole);
  }
  trim();
}

void ContentSums::trim() {
  while (!sums_.empty() && sums_.back() == 0) sums_.pop_back();
}

std::string ContentSums::serialize() const {
  std::string out;
  size_t told = 0;
  for (size_t at = 0; at < sums_.size();) {
    if (sums_[at] == 0) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < sums_.size() && sums_[end] != 0) ++end;
    append_varint(out, at - told);
    append_varint(out, end - at);
    out.append(reinterpret_cast<const char*>(sums_.data() + at), (end - at) * sizeof(uint64_t));
    told = at = end;
  }
  return out;
}

std::optional<ContentSums> ContentSums::parse(uint64_t size, std::string_view bytes) {
  ContentSums out(size);
  const size_t blocks = out.blocks();
  size_t at = 0;
  while (!bytes.empty()) {
    const auto gap = take_varint(bytes);
    if (!gap || *gap > blocks - at || (*gap == 0 && at != 0)) return std::nullopt;
    at += *gap;
    const auto count = take_varint(bytes);
    if (!count || *count == 0 || *count > blocks - at || *count > bytes.size() / sizeof(uint64_t))
      return std::nullopt;
    out.sums_.resize(at + *count);
    std::memcpy(out.sums_.data() + at, bytes.data(), *count * sizeof(uint64_t));
    bytes.remove_prefix(*count * sizeof(uint64_t));
    for (const size_t end = at + *count; at < end; ++at) {
      if (out.sums_[at] == 0) return std::nullopt;
    }
  }
  return out;
}

}  // namespace rsyncfs
