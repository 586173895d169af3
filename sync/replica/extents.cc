// SPDX-License-Identifier: GPL-3.0-or-later
#include <algorithm>
#include <limits>

#include "sync/replica/types.h"
#include "sync/replica/varint.h"

namespace rsyncfs {
void ExtentSet::add(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  // Files grow at their end: the common case needs no search.
  if (!ranges_.empty() && ranges_.back().end == begin) {
    ranges_.back().end = end;
    return;
  }
  const auto first = std::lower_bound(ranges_.begin(), ranges_.end(), begin,
                                      [](const Range& range, uint64_t at) { return range.end < at; });
  auto last = first;
  while (last != ranges_.end() && last->begin <= end) {
    begin = std::min(begin, last->begin);
    end = std::max(end, last->end);
    ++last;
  }
  if (first == last) {
    ranges_.insert(first, Range{begin, end});
    return;
  }
  *first = Range{begin, end};
  ranges_.erase(first + 1, last);
}

void ExtentSet::remove(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  std::vector<Range> kept;
  kept.reserve(ranges_.size() + 1);
  for (const Range& range : ranges_) {
    if (range.end <= begin || range.begin >= end) {
      kept.push_back(range);
      continue;
    }
    if (range.begin < begin) kept.push_back(Range{range.begin, begin});
    if (range.end > end) kept.push_back(Range{end, range.end});
  }
  ranges_ = std::move(kept);
}

bool ExtentSet::covers(uint64_t begin, uint64_t end) const {
  if (begin >= end) return true;
  const auto range = std::upper_bound(ranges_.begin(), ranges_.end(), begin,
                                      [](uint64_t at, const Range& r) { return at < r.end; });
  return range != ranges_.end() && range->begin <= begin && end <= range->end;
}

uint64_t ExtentSet::bytes() const {
  uint64_t sum = 0;
  for (const Range& range : ranges_) sum += range.end - range.begin;
  return sum;
}

std::vector<ExtentSet::Range> ExtentSet::missing(uint64_t begin, uint64_t end) const {
  std::vector<Range> out;
  for (auto range = std::upper_bound(ranges_.begin(), ranges_.end(), begin,
                                     [](uint64_t at, const Range&r) { return at < r.end; });
       begin < end; ++range) {
    if (range == ranges_.end() || range->begin >= end) {
      out.push_back(Range{begin, end});
      break;
    }
    if (range->begin > begin) out.push_back(Range{begin, range->begin});
    begin = range->end;
  }
  return out;
}

std::string ExtentSet::serialize() const {
  std::string out;
  uint64_t at = 0;
  for (const Range& range : ranges_) {
    append_varint(out, range.begin - at);
    append_varint(out, range.end - range.begin);
    at = range.end;
  }
  return out;
}

std::optional<ExtentSet> ExtentSet::parse(std::string_view bytes) {
  ExtentSet out;
  uint64_t at = 0;
  while (!bytes.empty()) {
    const auto gap = take_varint(bytes);
    if (!gap) return std::nullopt;
    const auto length = take_varint(bytes);
    if (!length || *length == 0) return std::nullopt;
    if (*gap == 0 && !out.ranges_.empty()) return std::nullopt;  // would be one range
    constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
    if (*gap > kMax - at || *length > kMax - at - *gap) return std::nullopt;
    out.ranges_.push_back(Range{at + *gap, at + *gap + *length});
    at += *gap + *length;
  }
  return out;
}

}  // namespace rsyncfs
