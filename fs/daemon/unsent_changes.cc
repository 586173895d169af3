// SPDX-License-Identifier: GPL-3.0-or-later
#include "fs/daemon/unsent_changes.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace rsyncfs {
namespace {

constexpr size_t kPage = 1'000;

bool is_below(std::string_view path, std::string_view directory) {
  if (directory.empty()) return true;
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

// Collects changes under the paths that they are known by: a new file differs in its name and its node.
class Collector {
 public:
  Collector(const Replica& replica, const LocalOnly& local_only, const std::string& path, size_t limit)
      : replica_(replica), local_only_(local_only), path_(path), limit_(limit) {}

  Result<void> take_names();
  Result<void> take_nodes();
  // Everything that was asked for is known: the totals come from elsewhere.
  bool is_full() const { return path_.empty() && !local_only_.any() && found_.first.size() >= limit_; }
  UnsentChanges result() && { return std::move(found_); }

 private:
  void add(std::string path, std::string what);
  void take(const PendingName& name);
  void take(const PendingNode& node);

  const Replica& replica_;
  const LocalOnly& local_only_;
  const std::string path_;
  const size_t limit_;
  std::unordered_map<std::string, size_t> seen_;  // path -> its place in found_.first, or limit_
  UnsentChanges found_;
};

void Collector::add(std::string path, std::string what) {
  if (!is_below(path, path_)) return;
  const size_t place = std::min(found_.first.size(), limit_);
  if (!seen_.emplace(path, place).second) return;
  ++found_.changes;
  if (place < limit_) found_.first.push_back({std::move(path), std::move(what)});
}

void Collector::take(const PendingName& name) {
  const Result<std::string> directory = replica_.path_of(name.parent);
  const Result<std::string> path = directory ? Result<std::string>(join(*directory, name.name))
                                             : replica_.pending().remote_path(name.parent, name.name);
  if (!path) return;  // neither side has a name for it: there is nothing to be told
  if (name.local == 0) {
    const auto elsewhere = replica_.pending().local_names_of(name.base, 1);
    return add(*path, elsewhere && !elsewhere->empty() ? "moved away" : "removed");
  }
  const Result<BaseNode> base = replica_.pending().base_of(name.local);
  const bool is_new = !base || !base->present;
  add(*path, is_new ? (name.base == 0 ? "new" : "replaced") : "moved here");
}

void Collector::take(const PendingNode& node) {
  const Result<std::string> path = replica_.path_of(node.local.id);
  if (!path) return;  // no name leads to it any more
  std::string words;
  for (const std::string& word : difference_words(node.differences))
    words += (words.empty() ? "" : ", ") + word;
  if (is_below(*path, path_) && (node.differences & (kBytesDiffer | kAbsentAtSource)) != 0) {
    found_.bytes += node.local.attr.size;
  }
  add(*path, std::move(words));
}

Result<void> Collector::take_names() {
  for (size_t skip = 0; skip < kMaxUnsentScanned && !is_full(); skip += kPage) {
    const auto page = replica_.pending().names(skip, kPage);
    if (!page) return page.error();
    for (const PendingName& name : *page) {
      if (!local_only_.has(name)) take(name);
    }
    if (page->size() < kPage) break;
  }
  return {};
}

Result<void> Collector::take_nodes() {
  for (size_t skip = 0; skip < kMaxUnsentScanned && !is_full(); skip += kPage) {
    const auto page = replica_.pending().nodes(skip, kPage);
    if (!page) return page.error();
    for (const PendingNode& node : *page) {
      if (!local_only_.has(node.local)) take(node);
    }
    if (page->size() < kPage) break;
  }
  return {};
}

}  // namespace

std::vector<std::string> difference_words(uint32_t differences) {
  if ((differences & kAbsentAtSource) != 0) return {"new"};
  constexpr std::array<std::pair<NodeDifference, const char*>, 5> kWords{{{kBytesDiffer, "contents"},
                                                                          {kModeDiffers, "mode"},
                                                                          {kOwnerDiffers, "owner"},
                                                                          {kMtimeDiffers, "mtime"},
                                                                          {kXattrsDiffer, "xattrs"}}};
  std::vector<std::string> words;
  for (const auto& [difference, word] : kWords) {
    if ((differences & difference) != 0) words.emplace_back(word);
  }
  return words;
}

Result<UnsentChanges> unsent_changes(const Replica& replica, const LocalOnly& local_only,
                                     const std::string& path, size_t limit) {
  Collector collector(replica, local_only, path, limit);
  if (const Result<void> names = collector.take_names(); !names) return names.error();
  if (const Result<void> nodes = collector.take_nodes(); !nodes) return nodes.error();
  UnsentChanges found = std::move(collector).result();
  // Of everything the totals are known, unless some of it stays here.
  if (path.empty() && !local_only.any()) {
    const PendingSummary all = replica.pending().summary();
    found.changes = std::max<uint64_t>({all.names, all.nodes, found.first.size()});
    found.bytes = all.bytes;
  }
  return found;
}

}  // namespace rsyncfs
