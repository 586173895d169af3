// SPDX-License-Identifier: GPL-3.0-or-later
// Lists that somebody asks for although there are some.
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "sync/engine/lister.h"

namespace rsyncfs {

namespace {

constexpr size_t kMaxRefreshed = 4'096;  // directories, by one request

}  // namespace

void Lister::revalidate(const FileTarget& target, Done<FileTarget> done) {
  const auto found = jobs_.find(target.parent);
  if (found == jobs_.end() || (found->second.session == nullptr && !found->second.ingesting)) {
    look_up_listed(target, std::move(done));
    return;
  }
  // A list that is under way may be older than the question.
  auto afterwards = [this, target = FileTarget(target),
                     done = std::move(done)](const Result<void>& listed) mutable {
    if (listed) {
      look_up_listed(target, std::move(done));
    } else {
      done(listed.error());
    }
  };
  want(0, target.parent, target.directory(), false, std::move(afterwards));
}

void Lister::look_up_listed(const FileTarget& target, Done<FileTarget> done) {
  auto answer = [this, target = FileTarget(target),
                 done = std::move(done)](const Result<void>& listed) mutable {
    if (!listed) {
      done(listed.error());
      return;
    }
    const auto found = context_.replica.pending().base_binding(target.parent, target.name);
    if (!found || *found == 0) {
      done(Error(Errc::kVanished, "the file is gone from the source"));
      return;
    }
    const auto base = context_.replica.pending().base_of(*found);
    if (*found != target.node || !base) {
      done(Error(Errc::kChanged, "the file was replaced on the source"));
    } else {
      target.size = base->attr.size;
      target.mtime_s = base->attr.mtime_s;
      target.mtime_ns = base->attr.mtime_ns;
      done(std::move(target));
    }
  };
  want(0, target.parent, target.directory(), false, std::move(answer));
  pump();
}

// Those who asked before the list was begun; what was not brought in of it is listed by itself.
void Lister::answer_tree(bool partial) {
  auto served = take_if(tree_waiters_, [this](const Listener& l) { return l.since <= tree_opened_at_; });
  for (Listener& listener : served) listener.done(Result<void>());
  if (!tree_waiters_.empty() && !partial) sweep();
}

void Lister::refresh_below(RequestId id, NodeId directory, Done<void> done) {
  std::vector<DirectoryToList> below;
  const bool all_of_it = directory == kRootNode && tree_fresh();
  if (!all_of_it) below = directories_below(directory);
  const bool too_many = below.size() >= kMaxRefreshed;
  if (too_many && !tree_fresh())
    return done(Error(Errc::kLimit, "too many directories at once, before the whole tree was listed"));
  // One list of all costs less than so many of one each.
  if (all_of_it || too_many) {
    const auto now = Clock::now();
    tree_waiters_.push_back({{id, now, now + context_.options.timeout, std::move(done)}, false});
    return sweep();
  }
  struct Refreshing {
    Done<void> done;
    size_t left = 1;
  };
  const auto all = std::make_shared<Refreshing>(Refreshing{std::move(done)});
  const auto one_less = [all] {
    if (--all->left == 0 && all->done) std::exchange(all->done, nullptr)(Result<void>());
  };
  for (DirectoryToList& one : below) {
    ++all->left;
    const bool itself = one.node == directory;
    want_younger(itself ? id : 0, one.node, std::move(one.path),
                 [all, itself, one_less](Result<void> listed) {
                   if (itself && !listed && all->done) std::exchange(all->done, nullptr)(std::move(listed));
                   one_less();
                 });
  }
  one_less();
}

std::vector<DirectoryToList> Lister::directories_below(NodeId directory) const {
  std::vector<DirectoryToList> out;
  auto place = context_.replica.pending().remote_place(directory);
  if (!place) return out;  // only here: what is stored is all there is
  out.push_back({directory, std::move(place->path)});
  for (size_t i = 0; i < out.size() && out.size() < kMaxRefreshed; ++i) {
    const auto children = context_.replica.pending().base_children(out[i].node, kMaxListEntries);
    if (!children) continue;
    for (const Binding& child : *children) {
      const auto node = context_.replica.node(child.node);
      if (!node || !S_ISDIR(node->attr.mode) || node->orphan || node->listed_at_s == 0) continue;
      std::string path = out[i].path;
      if (!path.empty()) path += '/';
      out.push_back({child.node, path + child.name});
    }
  }
  return out;
}

// A list that is under way may be older than the question.
void Lister::want_younger(RequestId id, NodeId node, std::string path, Done<void> done) {
  const auto found = jobs_.find(node);
  if (found == jobs_.end() || (found->second.session == nullptr && !found->second.ingesting))
    return want(id, node, std::move(path), false, std::move(done));
  want(id, node, path, false, [this, id, node, path, done = std::move(done)](Result<void> listed) mutable {
    if (!listed) return done(std::move(listed));
    want(id, node, std::move(path), false, std::move(done));
    pump();
  });
}

}  // namespace rsyncfs
