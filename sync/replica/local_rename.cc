// SPDX-License-Identifier: GPL-3.0-or-later
#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "sync/replica/local_changes_impl.h"
#include "sync/replica/name_edit.h"

namespace rsyncfs {
namespace {

struct Place {
  Node directory;
  std::string_view name;
};

// One renaming, as rename(2) and renameat2(2) have it.
class Renaming {
 public:
  Renaming(Transaction& transaction, RenameMode mode) : edit_(transaction), mode_(mode) {}

  Result<NameEffect> run(NodeId parent, std::string_view name, NodeId new_parent, std::string_view new_name) {
    auto from = edit_.directory(parent, name);
    if (!from) return from.error();
    auto to = edit_.directory(new_parent, new_name);
    if (!to) return to.error();
    from_ = {*from, name};
    to_ = {*to, new_name};
    auto moved = edit_.child(from_.directory, name);
    if (!moved) return moved.error();
    moved_ = *moved;
    auto other = edit_.find(to_.directory, new_name);
    if (!other) return other.error();
    other_ = *other;
    if (auto done = check(); !done) return done.error();
    // Two names of one file: nothing happens.
    if (other_ && other_->id == moved_.id) return NameEffect{moved_, std::nullopt};
    auto done = mode_ == RenameMode::kExchange ? exchange() : move();
    if (!done) return done.error();
    if (auto touched = touch_directories(); !touched) return touched.error();
    return NameEffect{moved_, other_};
  }

 private:
  bool exchanging() const { return mode_ == RenameMode::kExchange; }
  static bool is_directory(const Node& node) { return S_ISDIR(node.attr.mode); }

  Result<void> check() {
    if (mode_ == RenameMode::kNoReplace && other_) return failed(EEXIST, "the new name exists");
    if (exchanging() && !other_) return failed(ENOENT, "there is nothing to exchange with");
    if (other_ && other_->id == moved_.id) return {};
    if (from_.directory.id != to_.directory.id) {
      if (auto done = outside(to_.directory, moved_); !done) return done;
      if (exchanging()) {
        if (auto done = outside(from_.directory, *other_); !done) return done;
      }
    }
    if (exchanging() || !other_) return {};
    if (is_directory(*other_) && !is_directory(moved_)) return failed(EISDIR, "the new name is a directory");
    if (!is_directory(*other_) && is_directory(moved_)) {
      return failed(ENOTDIR, "the new name is no directory");
    }
    return is_directory(*other_) ? edit_.expect_empty(*other_) : Result<void>();
  }

  Result<void> outside(const Node& directory, const Node& node) {
    return is_directory(node) ? edit_.expect_outside(directory, node) : Result<void>();
  }

  Result<void> move() {
    if (auto done = edit_.lead(from_.directory, from_.name, moved_.id, 0); !done) return done;
    if (auto done = edit_.lead(to_.directory, to_.name, other_ ? other_->id : 0, moved_.id); !done)
      return done;
    if (auto done = edit_.gain_name(moved_, 0); !done) return done;
    return other_ ? edit_.lose_name(*other_) : Result<void>();
  }

  Result<void> exchange() {
    if (auto done = edit_.lead(from_.directory, from_.name, moved_.id, other_->id); !done) return done;
    if (auto done = edit_.lead(to_.directory, to_.name, other_->id, moved_.id); !done) return done;
    if (auto done = edit_.gain_name(moved_, 0); !done) return done;
    return edit_.gain_name(*other_, 0);
  }

  Result<void> touch_directories() {
    const int moved = is_directory(moved_) ? 1 : 0;
    const int other = other_ && is_directory(*other_) ? 1 : 0;
    const int leaves = exchanging() ? moved - other : moved;
    const int comes = moved - other;
    if (from_.directory.id == to_.directory.id) return edit_.touch_directory(from_.directory, comes - leaves);
    if (auto done = edit_.touch_directory(from_.directory, -leaves); !done) return done;
    return edit_.touch_directory(to_.directory, comes);
  }

  NameEdit edit_;
  const RenameMode mode_;
  Place from_;
  Place to_;
  Node moved_;
  std::optional<Node> other_;
};

}  // namespace

Result<NameEffect> StoredLocalChanges::rename(NodeId parent, std::string_view name, NodeId new_parent,
                                              std::string_view new_name, RenameMode mode) {
  return change<NameEffect>([&](Transaction& transaction) {
    return Renaming(transaction, mode).run(parent, name, new_parent, new_name);
  });
}

}  // namespace rsyncfs
