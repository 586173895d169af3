// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/nearest_word.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace rsyncfs {
namespace {

constexpr size_t kMaxSuggestedLength = 64;  // longer words are not compared with those we know

// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other.
size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<size_t> before;
  std::vector<size_t> above(to.size() + 1);
  std::iota(above.begin(), above.end(), size_t{0});
  for (size_t i = 1; i <= from.size(); ++i) {
    std::vector<size_t> row(to.size() + 1);
    row[0] = i;
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t cost = from[i - 1] == to[j - 1] ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + cost});
      const bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::move(above);
    above = std::move(row);
  }
  return above.back();
}

}  // namespace

std::string nearest_word(std::string_view word, std::span<const std::string_view> known) {
  if (word.empty() || word.size() > kMaxSuggestedLength) return "";
  // A third of the letters may differ, but never so many that any short word resembles any other.
  size_t best = std::max<size_t>(1, word.size() / 3) + 1;
  std::string found;
  for (const std::string_view candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance >= best) continue;
    best = distance;
    found = candidate;
  }
  return found;
}

}  // namespace rsyncfs
