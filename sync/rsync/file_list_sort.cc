// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/file_list_sort.h"

#include <sys/stat.h>

#include <algorithm>
#include <numeric>

namespace rsyncfs {

namespace {

// Every directory that the list mentions, by path; its rank is its place among them.
struct DirectoryRanks {
  std::vector<uint32_t> of_dirname;  // by index into FileList::dirnames
  std::vector<uint32_t> of_entry;    // by entry; only for directories
  uint32_t count = 0;
};

// A dirname, whose name part is empty, or an entry that is a directory.
struct Mention {
  uint32_t dirname;
  uint32_t name_offset;
  uint32_t id;  // the dirname, or FileList::dirnames.size() + the entry
  uint16_t name_length;
};

std::vector<Mention> mentioned_directories(const FileList& list) {
  const auto is_dir = [](const FileEntry& entry) { return S_ISDIR(entry.mode); };
  const auto dirname_count = static_cast<uint32_t>(list.dirnames.size());
  std::vector<Mention> mentions;
  mentions.reserve(dirname_count + static_cast<size_t>(std::ranges::count_if(list.entries, is_dir)));
  for (uint32_t i = 0; i < dirname_count; ++i) mentions.push_back({i, 0, i, 0});
  for (uint32_t i = 0; i < list.entries.size(); ++i) {
    const FileEntry& e = list.entries[i];
    if (is_dir(e)) mentions.push_back({e.dirname, e.name_offset, dirname_count + i, e.name_length});
  }
  return mentions;
}

DirectoryRanks rank_directories(const FileList& list) {
  const auto compare = [&](const Mention& a, const Mention& b) {
    const std::string_view name_a(list.arena.data() + a.name_offset, a.name_length);
    const std::string_view name_b(list.arena.data() + b.name_offset, b.name_length);
    return compare_list_order(list.dirnames[a.dirname], name_a, true, list.dirnames[b.dirname], name_b, true);
  };
  std::vector<Mention> mentions = mentioned_directories(list);
  std::sort(mentions.begin(), mentions.end(),
            [&](const Mention& a, const Mention& b) { return compare(a, b) < 0; });
  const auto dirname_count = static_cast<uint32_t>(list.dirnames.size());
  DirectoryRanks ranks;
  ranks.of_dirname.resize(dirname_count);
  ranks.of_entry.resize(list.entries.size());
  for (size_t i = 0; i < mentions.size(); ++i) {
    if (i == 0 || compare(mentions[i - 1], mentions[i]) != 0) ++ranks.count;
    const uint32_t id = mentions[i].id;
    (id < dirname_count ? ranks.of_dirname[id] : ranks.of_entry[id - dirname_count]) = ranks.count - 1;
  }
  return ranks;
}

// A directory's own entries stand first in its bucket, then the other names in it.
struct SortKey {
  uint64_t prefix = 0;  // the name's first 8 bytes, big-endian
  uint32_t index = 0;
  bool is_dir = false;
};

uint64_t name_prefix(std::string_view name) {
  uint64_t prefix = 0;
  for (size_t i = 0; i < 8; ++i)
    prefix = prefix << 8 | (i < name.size() ? static_cast<unsigned char>(name[i]) : 0u);
  return prefix;
}

void sort_bucket(const FileList& list, std::vector<SortKey>::iterator first,
                 std::vector<SortKey>::iterator last) {
  std::sort(first, last, [&](const SortKey& a, const SortKey& b) {
    if (a.is_dir != b.is_dir) return a.is_dir;
    if (a.prefix != b.prefix) return a.prefix < b.prefix;
    if (!a.is_dir) {
      const int order = list.basename(list.entries[a.index]).compare(list.basename(list.entries[b.index]));
      if (order != 0) return order < 0;
    }
    return a.index < b.index;
  });
}

// Entry i becomes the one that keys[i] names, each moved once along the cycles of the permutation.
void put_in_order(std::vector<FileEntry>& entries, std::vector<SortKey>& keys) {
  for (uint32_t start = 0; start < keys.size(); ++start) {
    if (keys[start].index == start) continue;
    const FileEntry first = entries[start];
    uint32_t hole = start;
    while (keys[hole].index != start) {
      const uint32_t next = keys[hole].index;
      entries[hole] = entries[next];
      keys[hole].index = hole;
      hole = next;
    }
    entries[hole] = first;
    keys[hole].index = hole;
  }
}

}  // namespace

void sort_file_list(FileList& list) {
  const DirectoryRanks ranks = rank_directories(list);
  const size_t count = list.entries.size();
  const auto rank_of = [&](uint32_t i) {
    const FileEntry& e = list.entries[i];
    return S_ISDIR(e.mode) ? ranks.of_entry[i] : ranks.of_dirname[e.dirname];
  };
  std::vector<uint32_t> starts(size_t{ranks.count} + 1);
  for (uint32_t i = 0; i < count; ++i) ++starts[rank_of(i) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());

  std::vector<SortKey> keys(count);
  std::vector<uint32_t> fill(starts.begin(), starts.end() - 1);
  for (uint32_t i = 0; i < count; ++i) {
    const FileEntry& e = list.entries[i];
    const bool is_dir = S_ISDIR(e.mode);
    keys[fill[rank_of(i)]++] = {is_dir ? 0 : name_prefix(list.basename(e)), i, is_dir};
  }
  for (size_t rank = 0; rank < ranks.count; ++rank) {
    sort_bucket(list, keys.begin() + starts[rank], keys.begin() + starts[rank + 1]);
  }
  put_in_order(list.entries, keys);
}

}  // namespace rsyncfs
