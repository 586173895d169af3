// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/rsync/file_list_sort.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace rsyncfs {

namespace {

// Every directory that the list mentions, by path; its rank is its place among them.
struct DirectoryRanks {
  std::vector<uint32_t> of_dirname;  // by index into FileList::dirnames
  std::vector<uint32_t> of_entry;    // by entry; only for directories
  uint32_t count = 0;
};

bool directory_before(std::string_view a, std::string_view b) {
  const size_t common = std::min(a.size(), b.size());
  const int order = common == 0 ? 0 : std::memcmp(a.data(), b.data(), common);
  if (order != 0) return order < 0;
  if (a.size() == b.size()) return false;
  const bool a_shorter = a.size() < b.size();
  if (common == 0) return a_shorter;
  const auto next = static_cast<unsigned char>(a_shorter ? b[common] : a[common]);
  return (next >= '/') == a_shorter;
}

DirectoryRanks rank_directories(const FileList& list) {
  struct Mention {
    std::string_view path;
    uint32_t id;  // a dirname, or dirnames.size() + the entry
  };
  const auto dirname_count = static_cast<uint32_t>(list.dirnames.size());
  size_t path_bytes = 0;
  size_t directories = 0;
  for (const FileEntry& e : list.entries) {
    if (!S_ISDIR(e.mode)) continue;
    ++directories;
    path_bytes += list.dirname(e).size() + 1 + e.name_length;
  }
  std::string paths;
  paths.reserve(path_bytes);  // never grows: `mentions` points into it
  std::vector<Mention> mentions;
  mentions.reserve(directories + dirname_count);
  for (uint32_t i = 0; i < dirname_count; ++i) mentions.push_back({list.dirnames[i], i});
  for (uint32_t i = 0; i < list.entries.size(); ++i) {
    const FileEntry& e = list.entries[i];
    if (!S_ISDIR(e.mode)) continue;
    const size_t start = paths.size();
    const std::string_view dir = list.dirname(e);
    const std::string_view name = list.basename(e);
    if (!dir.empty()) paths.append(dir).append("/");
    if (!dir.empty() || name != ".") paths.append(name);
    mentions.push_back({std::string_view(paths).substr(start), dirname_count + i});
  }
  std::sort(mentions.begin(), mentions.end(),
            [](const Mention& a, const Mention& b) { return directory_before(a.path, b.path); });
  DirectoryRanks ranks;
  ranks.of_dirname.resize(dirname_count);
  ranks.of_entry.resize(list.entries.size());
  for (size_t i = 0; i < mentions.size(); ++i) {
    if (i == 0 || mentions[i].path != mentions[i - 1].path) ++ranks.count;
    const uint32_t rank = ranks.count - 1;
    if (mentions[i].id < dirname_count) {
      ranks.of_dirname[mentions[i].id] = rank;
    } else {
      ranks.of_entry[mentions[i].id - dirname_count] = rank;
    }
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
  std::vector<FileEntry> sorted(count);
  for (size_t i = 0; i < count; ++i) sorted[i] = list.entries[keys[i].index];
  list.entries = std::move(sorted);
}

}  // namespace rsyncfs
