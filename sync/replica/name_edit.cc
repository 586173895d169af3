// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/name_edit.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "sync/replica/base_rows.h"
#include "sync/replica/conflict_name.h"
#include "sync/replica/orphans.h"

namespace rsyncfs {
namespace {

// Bounds a damaged store's cycle.
constexpr int kMaxDepth = 1 << 16;

constexpr Sql kAnyChild{"SELECT 1 FROM names WHERE parent=? LIMIT 1"};
constexpr Sql kTouchDirectory{
    "UPDATE nodes SET mtime_s=?, mtime_ns=?, ctime_s=?1, ctime_ns=?2, nlink=nlink+? WHERE id=?"};
constexpr Sql kSetLinks{"UPDATE nodes SET nlink=?, ctime_s=?, ctime_ns=? WHERE id=?"};
constexpr Sql kSetChangeTime{"UPDATE nodes SET ctime_s=?, ctime_ns=? WHERE id=?"};

}  // namespace

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

Error failed(int error, std::string_view what) {
  const bool missing = error == ENOENT || error == ESTALE;
  return Error(missing ? Errc::kNotFound : Errc::kOs, std::string(what)).with_errno(error);
}

Result<Node> NameEdit::node(NodeId id) {
  auto found = find_node(db(), id);
  if (!found) return found.error();
  if (!found->has_value()) return failed(ESTALE, "no such node");
  return **found;
}

Result<Node> NameEdit::directory(NodeId id, std::string_view name) {
  if (name.size() > kMaxNameBytes) return failed(ENAMETOOLONG, "the name is too long");
  if (!is_plain_name(name)) return failed(EINVAL, "not the name of a file");
  auto found = node(id);
  if (!found) return found;
  if (!S_ISDIR(found->attr.mode)) return failed(ENOTDIR, "no directory");
  if (found->orphan) return failed(ENOENT, "the directory was removed");
  return found;
}

Result<std::optional<Node>> NameEdit::find(const Node& directory, std::string_view name) {
  return find_name(db(), directory.id, name);
}

Result<Node> NameEdit::child(const Node& directory, std::string_view name) {
  auto found = find(directory, name);
  if (!found) return found.error();
  if (!found->has_value()) return failed(ENOENT, "no such name");
  return **found;
}

Result<void> NameEdit::expect_free(const Node& directory, std::string_view name) {
  auto found = find(directory, name);
  if (!found) return found.error();
  return found->has_value() ? failed(EEXIST, "the name exists") : Result<void>();
}

Result<void> NameEdit::expect_empty(const Node& directory) {
  Query query(db(), kAnyChild);
  query.unsigned_integer(directory.id);
  auto row = query.step();
  if (!row) return row.error();
  return *row ? failed(ENOTEMPTY, "the directory is not empty") : Result<void>();
}

Result<void> NameEdit::expect_outside(const Node& directory, const Node& node) {
  NodeId at = directory.id;
  for (int depth = 0; at != node.id; ++depth) {
    if (at == kRootNode) return {};
    if (depth == kMaxDepth) return Error(Errc::kCorrupt, "the store's directories form a circle");
    auto name = find_name_of(db(), at);
    if (!name) return name.error();
    if (!name->has_value()) return Error(Errc::kCorrupt, "a directory of the store has no name");
    at = (*name)->first;
  }
  return failed(EINVAL, "a directory cannot be moved into itself");
}

Result<void> NameEdit::lead(const Node& directory, std::string_view name, NodeId before, NodeId after) {
  auto done = after == 0 ? erase_name(transaction_, directory.id, name)
                         : put_name(transaction_, directory.id, name, after);
  if (!done) return done;
  return note_name(transaction_, directory.id, name, before, after);
}

Result<void> NameEdit::gain_name(Node& node, uint32_t links) {
  node.ctime = now_;
  if (node.orphan) {
    auto live = revive(transaction_, node);
    if (!live) return live.error();
    node = *live;
  } else {
    node.attr.nlink += links;
  }
  Query update(db(), kSetLinks);
  update.integer(node.attr.nlink).integer(now_.s).integer(now_.ns).unsigned_integer(node.id);
  return update.run();
}

Result<void> NameEdit::lose_name(Node& node) {
  node.ctime = now_;
  uint32_t names = 0;
  if (node.attr.nlink > 1 && !S_ISDIR(node.attr.mode)) {
    auto counted = count_names(db(), node.id, node.attr.nlink);
    if (!counted) return counted.error();
    names = *counted;
  }
  if (names == 0) {
    if (auto done = make_orphan(transaction_, node); !done) return done;
    node.orphan = true;
    node.attr.nlink = 0;
    Query update(db(), kSetChangeTime);
    update.integer(now_.s).integer(now_.ns).unsigned_integer(node.id);
    return update.run();
  }
  // Names that were never listed count too.
  node.attr.nlink = std::max(names, node.attr.nlink - 1);
  Query update(db(), kSetLinks);
  update.integer(node.attr.nlink).integer(now_.s).integer(now_.ns).unsigned_integer(node.id);
  return update.run();
}

Result<void> NameEdit::touch_directory(const Node& directory, int subdirectories) {
  Query update(db(), kTouchDirectory);
  update.integer(now_.s).integer(now_.ns);
  // The subdirectories of one that was never listed are not counted.
  update.integer(directory.listed_at_s == 0 ? 0 : subdirectories).unsigned_integer(directory.id);
  return update.run();
}

}  // namespace rsyncfs
