// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/remade_directories.h"

#include <vector>

#include "sync/replica/base_bindings.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/database.h"

namespace rsyncfs {
namespace {

constexpr int kMaxDepth = 4'096;  // more than any path has

#define BASE_CHILDREN                                                                           \
  "(SELECT parent, name, node FROM base_names WHERE parent=?1 AND node<>0"                      \
  " UNION ALL SELECT n.parent, n.name, n.node FROM names AS n WHERE n.parent=?1 AND NOT EXISTS" \
  " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name)) AS c"            \
  " JOIN nodes AS n ON n.id=c.node"
constexpr Sql kDirectories{"SELECT c.parent, c.name, c.node FROM " BASE_CHILDREN
                           " WHERE (n.mode & 61440)=16384"};
constexpr Sql kAnyFile{"SELECT 1 FROM " BASE_CHILDREN " WHERE (n.mode & 61440)<>16384 LIMIT 1"};
#undef BASE_CHILDREN

class Remaking {
 public:
  Remaking(Transaction& transaction, Losses& losses) : transaction_(transaction), losses_(losses) {}

  // False: there is no file in it, however deep.
  Result<bool> go_through(NodeId directory, int depth) {
    if (depth == kMaxDepth) return Error(Errc::kCorrupt, "the source's directories form a circle");
    auto any_file = has_files(directory);
    if (!any_file) return any_file;
    auto below = directories_in(directory);
    if (!below) return below.error();
    for (const Binding& child : *below) {
      auto arrived = go_through(child.node, depth + 1);
      if (!arrived) return arrived;
      auto noted = *arrived ? note_new(child.node, 0) : note_gone(child);
      if (!noted) return noted.error();
      *any_file = *any_file || *arrived;
    }
    return any_file;
  }

  Result<void> note_gone(const Binding& place) {
    return bind_at_source(transaction_, {{place.parent, place.name, 0}}, losses_);
  }

  Result<void> note_new(NodeId directory, uint64_t xattr_set) {
    auto base = base_state(transaction_.db(), directory);
    if (!base) return base.error();
    base->attr.mtime_s = kUnknownTime;
    base->attr.mtime_ns = 0;
    base->xattr_set = xattr_set;
    return put_base_node(transaction_, *base);
  }

 private:
  Result<bool> has_files(NodeId directory) {
    Query query(transaction_.db(), kAnyFile);
    query.unsigned_integer(directory);
    return query.step();
  }

  Result<std::vector<Binding>> directories_in(NodeId directory) {
    std::vector<Binding> out;
    Query query(transaction_.db(), kDirectories);
    query.unsigned_integer(directory);
    for (;;) {
      auto row = query.step();
      if (!row) return row.error();
      if (!*row) return out;
      out.push_back({query.unsigned_at(0), std::string(query.blob_at(1)), query.unsigned_at(2)});
    }
  }

  Transaction& transaction_;
  Losses& losses_;
};

}  // namespace

Result<void> note_remade(Transaction& transaction, const RemadeDirectory& directory, Losses& losses) {
  Remaking remaking(transaction, losses);
  auto arrived = remaking.go_through(directory.place.node, 0);
  if (!arrived) return arrived.error();
  return *arrived || directory.stays ? remaking.note_new(directory.place.node, directory.xattr_set)
                                     : remaking.note_gone(directory.place);
}

}  // namespace rsyncfs
