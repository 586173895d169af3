// SPDX-License-Identifier: GPL-3.0-or-later
// The part of Tree that deals with names.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <climits>

#include "fs/tree/tree.h"

namespace rsyncfs {
namespace {

// Positions: 0 "."; 1 ".."; 2 the first name; 3 + N what follows the name with number N.
constexpr uint64_t kDots = 2;
// Names read in one go, whatever the caller has room for.
constexpr size_t kMaxNamesAtOnce = 4096;
constexpr size_t kMaxNameBytes = NAME_MAX;

bool source_is_away(const Error& error) {
  return error.code() == Errc::kUnreachable || error.code() == Errc::kTimedOut ||
         error.code() == Errc::kDisconnected;
}

}  // namespace

// What the source does not have it cannot list.
bool Tree::names_are_known(const Node& directory) const {
  return (directory.differences & kAbsentAtSource) != 0 || syncer_.may_answer_listing(directory);
}

// The link may have gone down while we asked: then what is stored is all there is, and good enough. Every
// other failure, a cancelled wait above all, needs nothing of the store and does not queue for the executor.
RequestId Tree::after_listing(NodeId directory, UniqueFunction<void(Result<void>)> answer) {
  return syncer_.list_directory(
      directory, [this, directory, answer = std::move(answer)](Result<void> listed) mutable {
        if (!listed && !source_is_away(listed.error())) return answer(std::move(listed));
        executor_.submit([this, directory, listed = std::move(listed), answer = std::move(answer)]() mutable {
          const AnswerGate::Section section(gate_);
          if (!listed && source_is_away(listed.error())) {
            const Result<Node> node = directory_node(directory);
            if (node && names_are_known(*node)) listed = {};
          }
          answer(std::move(listed));
        });
      });
}

RequestId Tree::lookup(NodeId parent, std::string_view name, Done<Entry> done) {
  {
    const AnswerGate::Section section(gate_);
    // "." is asked of any inode, for file handles.
    const Result<Node> directory = name == "." ? present_node(parent) : directory_node(parent);
    if (!directory) {
      done(directory.error());
      return 0;
    }
    if (name == "." || name == "..") {
      answer_dot(*directory, name == "..", std::move(done));
      return 0;
    }
    if (name.size() > kMaxNameBytes) {
      done(Error::os(ENAMETOOLONG, "name"));
      return 0;
    }
    if (names_are_known(*directory)) {
      answer_lookup(parent, name, std::move(done));
      return 0;
    }
  }
  return after_listing(parent, [this, parent, name = std::string(name),
                                done = std::move(done)](const Result<void>& listed) mutable {
    if (!listed) return done(listed.error());
    answer_lookup(parent, name, std::move(done));
  });
}

void Tree::lookup_stored(NodeId parent, std::string_view name, Done<Entry> done) {
  const AnswerGate::Section section(gate_);
  answer_lookup(parent, name, std::move(done));
}

// A node that was read, and counts as known since: as it is now, if anything changed in between.
Node Tree::read_again(const Node& node, uint64_t changes_before) const {
  if (changes_.load() == changes_before) return node;
  const Result<Node> now = replica_.node(node.id);
  return now ? *now : node;
}

// Within a section. Marked before it is read: a change that finds no mark comes before the read.
void Tree::answer_lookup(NodeId parent, std::string_view name, Done<Entry> done) {
  lookups_.mark(parent);
  const uint64_t changes_before = changes_.load();
  const Result<Node> node = replica_.lookup(parent, name);
  // Who asks for a directory goes on in it.
  syncer_.note_use(node && S_ISDIR(node->attr.mode) ? node->id : parent);
  if (!node) {
    if (node.error().code() == Errc::kNotFound) return done(Entry{});
    return done(node.error());
  }
  lookups_.add(node->id);
  done(Entry{node->id, stat_of(read_again(*node, changes_before))});
}

void Tree::answer_dot(const Node& directory, bool parent, Done<Entry> done) {
  Node answer = directory;
  if (parent && directory.id != kRootNode) {
    const auto above = replica_.name_of(directory.id);
    if (!above) return done(Error(Errc::kVanished, "the directory is no more"));
    const Result<Node> node = present_node(above->first);
    if (!node) return done(node.error());
    answer = *node;
  }
  lookups_.add(answer.id);
  done(Entry{answer.id, stat_of(answer)});
}

RequestId Tree::opendir(NodeId id, Done<void> done) {
  syncer_.note_use(id);
  {
    const AnswerGate::Section section(gate_);
    const Result<Node> directory = directory_node(id);
    if (!directory) {
      done(directory.error());
      return 0;
    }
    if (names_are_known(*directory)) {
      done(Result<void>());
      return 0;
    }
  }
  return after_listing(id, std::move(done));
}

RequestId Tree::readdir(NodeId id, uint64_t cookie, bool plus, std::shared_ptr<DirectorySink> sink) {
  if (cookie == 0) syncer_.note_use(id);
  {
    const AnswerGate::Section section(gate_);
    const Result<Node> directory = directory_node(id);
    if (!directory) {
      sink->finish(directory.error());
      return 0;
    }
    // Who goes on has begun when they were known.
    if (cookie != 0 || names_are_known(*directory)) {
      give_names(*directory, cookie, plus, *sink);
      return 0;
    }
  }
  return after_listing(id, [this, id, plus, sink = std::move(sink)](const Result<void>& listed) {
    const Result<Node> directory = listed ? directory_node(id) : listed.error();
    if (!directory) return static_cast<void>(sink->finish(directory.error()));
    give_names(*directory, 0, plus, *sink);
  });
}

// Within a section.
void Tree::give_names(const Node& directory, uint64_t cookie, bool plus, DirectorySink& sink) {
  const std::shared_ptr<DirectoryNames> names = positions_.of(directory.id);
  lookups_.mark(directory.id);
  Counted counted;
  Result<void> filled;
  size_t bytes = 0;
  {
    const std::lock_guard lock(names->mutex);
    filled = fill(directory, names->numbers, cookie, plus, sink, counted);
    bytes = names->numbers.bytes();
  }
  for (const NodeId lost : positions_.keep(directory.id, names, bytes)) {
    if (options_.events != nullptr) options_.events->on_content_changed(lost);
  }
  if (counted.refused) forget(*counted.refused, 1);
  if (sink.finish(std::move(filled))) return;
  for (const NodeId node : counted.given) forget(node, 1);
}

bool Tree::fill_dots(const Node& directory, uint64_t cookie, DirectorySink& sink) {
  Entry entry;
  entry.attr.st_mode = S_IFDIR;
  entry.attr.st_ino = directory.ino;
  if (cookie == 0 && !sink.add(".", entry, 1)) return false;
  if (directory.id != kRootNode) {
    const auto above = replica_.name_of(directory.id);
    if (above) {
      const Result<Node> node = replica_.node(above->first);
      if (node) entry.attr.st_ino = node->ino;
    }
  }
  return cookie > 1 || sink.add("..", entry, kDots);
}

// Sees to it that `count` names have numbers; false when the directory has not so many. Only positions that
// somebody made up, or kept over a remount, are not there yet: counting is the best guess at them.
Result<bool> Tree::number_names(NodeId directory, NameNumbers& numbers, size_t count) const {
  std::string after;
  while (numbers.size() < count) {
    const auto names = replica_.list_after(directory, after, std::min(count, kMaxNamesAtOnce));
    if (!names) return names.error();
    if (names->empty()) return false;
    for (const auto& [entry, node] : *names) numbers.number_of(entry.name);
    after = names->back().first.name;
  }
  return true;
}

// Goes on after the name at the position, not at the position: names that came or went do not shift the
// others.
Result<void> Tree::fill(const Node& directory, NameNumbers& numbers, uint64_t cookie, bool plus,
                        DirectorySink& sink, Counted& counted) {
  if (cookie < kDots && !fill_dots(directory, cookie, sink)) return {};
  std::string after;
  if (cookie > kDots) {
    const Result<bool> numbered = number_names(directory.id, numbers, cookie - kDots);
    if (!numbered) return numbered.error();
    if (!*numbered) return {};
    after = numbers.at(cookie - kDots - 1);
  }
  for (;;) {
    const size_t wanted = std::clamp<size_t>(sink.capacity(), 1, kMaxNamesAtOnce);
    const uint64_t changes_before = changes_.load();
    const auto names = replica_.list_after(directory.id, after, wanted);
    if (!names) return names.error();
    for (const auto& [name, node] : *names) {
      if (name.name.size() > kMaxNameBytes) continue;
      // Counted before it can be given: an invalidation must find it known.
      if (plus) lookups_.add(node.id);
      const bool known = plus && S_ISDIR(node.attr.mode) && lookups_.is_marked(node.id);
      const Entry entry{node.id, stat_of(plus ? read_again(node, changes_before) : node), known};
      if (!sink.add(name.name, entry, kDots + numbers.number_of(name.name) + 1)) {
        if (plus) counted.refused = node.id;
        return {};
      }
      if (plus) counted.given.push_back(node.id);
    }
    if (names->size() < wanted) return {};
    after = names->back().first.name;
  }
}

}  // namespace rsyncfs
