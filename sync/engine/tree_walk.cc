// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/tree_walk.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "sync/engine/whole_file.h"

namespace rsyncfs {

namespace {

constexpr size_t kNamesAtOnce = 512;
constexpr size_t kMaxNames = 4'096;        // looked at in one step
constexpr size_t kMaxDirectories = 1'024;  // the same

bool is_at_or_below(const std::string& path, const std::string& top) {
  return top.empty() || path == top || (path.starts_with(top) && path[top.size()] == '/');
}

class Walk {
 public:
  Walk(const Replica& replica, WalkPosition from, const WalkLimits& limits)
      : replica_(replica),
        limits_(limits),
        names_differ_(replica.pending().summary().names > 0),
        at_(std::move(from)) {}

  WalkStep run() {
    for (size_t i = 0; i < kMaxDirectories; ++i) {
      // Where the source has it: its name here may be another one.
      const auto place = replica_.pending().remote_place(at_.directory);
      if (!place || !is_at_or_below(place->path, limits_.top)) return std::move(step_);
      if (const auto above = std::exchange(above_, std::nullopt);
          above && above->directory != place->parent) {
        at_ = *above;  // it was moved here, so it is in no order there
        continue;
      }
      path_ = place->path;
      switch (read_directory()) {
        case Reading::kFull:
          step_.next = at_;
          return std::move(step_);
        case Reading::kFailed:
          return std::move(step_);
        case Reading::kDescended:
          continue;
        case Reading::kRead:
          break;
      }
      if (!limits_.recursive || path_ == limits_.top || at_.directory == kRootNode) return std::move(step_);
      at_ = {place->parent, place->name};
    }
    step_.next = at_;
    return std::move(step_);
  }

 private:
  enum class Reading : uint8_t { kRead, kDescended, kFull, kFailed };

  Reading read_directory() {
    while (true) {
      auto names = replica_.list_after(at_.directory, at_.after, kNamesAtOnce);
      if (!names) return Reading::kFailed;
      for (auto& [entry, node] : *names) {
        if (bytes_ >= limits_.bytes || looked_at_ >= kMaxNames) return Reading::kFull;
        ++looked_at_;
        at_.after = entry.name;
        if (S_ISDIR(node.attr.mode) && limits_.recursive && node.listed_at_s != 0) {
          above_ = std::exchange(at_, {node.id, std::string()});
          return Reading::kDescended;
        }
        take(std::move(entry.name), node);
      }
      if (names->size() < kNamesAtOnce) return Reading::kRead;
    }
  }

  void take(std::string name, const Node& node) {
    if (!S_ISREG(node.attr.mode) || node.differences != 0) return;
    if (node.attr.size == 0 || node.attr.size > kMaxWholeFileBytes) return;
    if (names_differ_) {
      const auto listed = replica_.pending().base_binding(at_.directory, name);
      if (!listed || *listed != node.id) return;
    }
    const auto state = replica_.content_state(node.id);
    if (!state || state->complete) return;
    FileTarget& target = step_.files.emplace_back();
    target.node = node.id;
    target.parent = at_.directory;
    target.path = path_.empty() ? name : path_ + "/" + name;
    target.name = std::move(name);
    target.size = node.attr.size;
    target.mtime_s = node.attr.mtime_s;
    target.mtime_ns = node.attr.mtime_ns;
    bytes_ += node.attr.size;
  }

  const Replica& replica_;
  const WalkLimits& limits_;
  const bool names_differ_;  // some, from the source's
  WalkPosition at_;
  std::optional<WalkPosition> above_;  // just after a descent: where from
  std::string path_;                   // of at_.directory
  WalkStep step_;
  uint64_t bytes_ = 0;
  size_t looked_at_ = 0;
};

}  // namespace

WalkStep walk_tree(const Replica& replica, WalkPosition from, const WalkLimits& limits) {
  return Walk(replica, std::move(from), limits).run();
}

std::string common_top(const std::string& directory, const std::string& other) {
  const size_t least = std::min(directory.size(), other.size());
  size_t same = 0;
  while (same < least && directory[same] == other[same]) ++same;
  const auto ends = [same](const std::string& path) { return same == path.size() || path[same] == '/'; };
  if (ends(directory) && ends(other)) return directory.substr(0, same);
  const size_t slash = same == 0 ? std::string::npos : directory.rfind('/', same - 1);
  return slash == std::string::npos ? std::string() : directory.substr(0, slash);
}

}  // namespace rsyncfs
