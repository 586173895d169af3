// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/former_names.h"

#include <sys/stat.h>

#include <cerrno>

#include "sync/replica/base_rows.h"
#include "sync/replica/conflict_name.h"
#include "sync/replica/conflict_rows.h"
#include "sync/replica/name_edit.h"
#include "sync/replica/node_rows.h"

namespace rsyncfs {
namespace {

constexpr Sql kPut{
    "INSERT OR REPLACE INTO former_names(node, parent, name) SELECT id, ?, ? FROM nodes"
    " WHERE id=? AND orphan=1 AND (mode & 61440)=32768"};
constexpr Sql kFind{"SELECT parent, name FROM former_names WHERE node=?"};
constexpr Sql kErase{"DELETE FROM former_names WHERE node=?"};

// The directory of before, or the root when that is gone.
Result<Node> place_for(NameEdit& edit, NodeId parent) {
  auto directory = find_node(edit.db(), parent);
  if (!directory) return directory.error();
  if (directory->has_value() && !(*directory)->orphan && S_ISDIR((*directory)->attr.mode)) return **directory;
  return edit.node(kRootNode);
}

}  // namespace

Result<void> note_former_name(Transaction& transaction, NodeId node, NodeId parent, std::string_view name) {
  Query put(transaction.db(), kPut);
  put.unsigned_integer(parent).blob(name).unsigned_integer(node);
  return put.run();
}

Result<std::optional<std::pair<NodeId, std::string>>> find_former_name(Connection& db, NodeId node) {
  using Found = std::optional<std::pair<NodeId, std::string>>;
  Query query(db, kFind);
  query.unsigned_integer(node);
  auto row = query.step();
  if (!row) return row.error();
  if (!*row) return Found();
  return Found(std::in_place, query.unsigned_at(0), query.blob_at(1));
}

Result<void> erase_former_name(Transaction& transaction, NodeId node) {
  Query erase(transaction.db(), kErase);
  erase.unsigned_integer(node);
  return erase.run();
}

Result<std::string> conflict_name_in(Connection& db, NodeId directory, std::string_view name,
                                     const FileTime& time) {
  std::optional<Error> failure;
  std::string out = free_conflict_name(name, host_name(), time, [&](std::string_view candidate) {
    auto local = find_name(db, directory, candidate);
    auto base = find_base_name(db, directory, candidate);
    if (!local) failure = local.error();
    if (!base) failure = base.error();
    return !failure && (local->has_value() || base->value_or(0) != 0);
  });
  if (failure) return *failure;
  if (out.empty()) return Error(Errc::kLimit, "too many conflict copies of one file").with_errno(EEXIST);
  return out;
}

Result<std::optional<NameChange>> adopt_former_name(Transaction& transaction, const Node& orphan) {
  if (!orphan.orphan) return std::optional<NameChange>();
  auto former = find_former_name(transaction.db(), orphan.id);
  if (!former) return former.error();
  if (!former->has_value()) return std::optional<NameChange>();
  NameEdit edit(transaction);
  auto directory = place_for(edit, (*former)->first);
  if (!directory) return directory.error();
  auto name = conflict_name_in(transaction.db(), directory->id, (*former)->second, edit.now());
  if (!name) return name.error();
  if (auto done = edit.lead(*directory, *name, 0, orphan.id); !done) return done.error();
  Node node = orphan;
  if (auto done = edit.gain_name(node, 1); !done) return done.error();
  if (auto done = edit.touch_directory(*directory, 0); !done) return done.error();
  ConflictRecord record;
  record.at_s = edit.now().s;
  auto path = local_path(transaction.db(), directory->id);
  if (!path) return path.error();
  if (!path->empty()) *path += '/';
  record.path = *path + (*former)->second;
  record.copy_path = *path + *name;
  record.what = "the source changed it while it was open here, and then it was written to";
  if (auto done = put_conflict(transaction, record); !done) return done.error();
  return std::optional<NameChange>({NameChange::Kind::kCreated, directory->id, *name, orphan.id, 0});
}

}  // namespace rsyncfs
