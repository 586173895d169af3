// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/losses.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>

#include "sync/replica/base_bindings.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/former_names.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/orphans.h"

namespace rsyncfs {
namespace {

constexpr size_t kAllNames = std::numeric_limits<int64_t>::max();
constexpr uint32_t kMaxNamesCounted = 1 << 20;

constexpr Sql kCountDirectories{
    "SELECT count(*) FROM names JOIN nodes AS n ON n.id=names.node"
    " WHERE names.parent=? AND (n.mode & 61440)=16384"};

}  // namespace

Result<uint32_t> read_subdirectories(Connection& db, NodeId directory) {
  Query count(db, kCountDirectories);
  count.unsigned_integer(directory);
  if (auto row = count.step(); !row) return row.error();
  return static_cast<uint32_t>(count.integer_at(0));
}

Result<void> count_subdirectories(Transaction& transaction, const Node& directory) {
  if (directory.listed_at_s == 0) return {};
  auto count = read_subdirectories(transaction.db(), directory.id);
  if (!count) return count.error();
  return set_listing_state(transaction, directory.id, 2 + *count, directory.listed_at_s);
}

Result<void> Losses::settle() {
  while (!suspects_.empty()) {
    const auto [id, successor] = suspects_.back();
    suspects_.pop_back();
    auto bound = is_bound_at_source(transaction_.db(), id);
    if (!bound) return bound.error();
    if (*bound) continue;
    auto node = find_node(transaction_.db(), id);
    if (!node) return node.error();
    if (!node->has_value()) continue;
    if (auto done = lose(**node, successor); !done) return done;
  }
  return {};
}

Result<void> Losses::lose(const Node& node, NodeId successor) {
  if (S_ISDIR(node.attr.mode)) {
    if (auto done = lose_children(node.id); !done) return done;
  }
  if (node.orphan) return give_up(node);
  if ((node.differences & kAbsentAtSource) != 0) return {};  // all of it is here
  auto hollow = is_hollow(node);
  if (!hollow) return hollow.error();
  return *hollow ? hand_over(node, successor) : make_absent(node);
}

Result<void> Losses::lose_children(NodeId directory) {
  auto children = base_children(transaction_.db(), directory, kAllNames);
  if (!children) return children.error();
  for (const Binding& child : *children) {
    auto local = local_binding(transaction_.db(), directory, child.name);
    if (!local) return local.error();
    if (auto done = put_base_name(transaction_, directory, child.name, 0, *local); !done) return done;
    add(child.node);
  }
  return {};
}

Result<void> Losses::give_up(const Node& orphan) {
  if (orphan.differences != 0) {
    if (auto done = leave_to_itself(transaction_, orphan.id, orphan.differences); !done) return done;
  }
  if (!transaction_.writer().retained_nodes().has(orphan.id)) return {};
  auto deleted = delete_orphans(transaction_, {orphan.id}, files_);
  return deleted ? Result<void>() : deleted.error();
}

Result<void> Losses::make_absent(const Node& node) {
  BaseNode nothing;
  nothing.node = node.id;
  if (auto done = put_base_node(transaction_, nothing); !done) return done;
  if (!S_ISDIR(node.attr.mode)) return {};
  // What is stored of it is all that there is from now on.
  Node listed = node;
  if (listed.listed_at_s == 0) listed.listed_at_s = FileTime::now().s;
  return count_subdirectories(transaction_, listed);
}

Result<bool> Losses::is_hollow(const Node& node) {
  if (!S_ISREG(node.attr.mode) || node.attr.size == 0 || (node.differences & kBytesDiffer) != 0) return false;
  auto content = find_content(transaction_.db(), node.id);
  if (!content) return content.error();
  return !content->has_value() || !(*content)->sound || !(*content)->complete;
}

Result<void> Losses::hand_over(const Node& node, NodeId successor) {
  auto names = local_names_of(transaction_.db(), node.id, kAllNames);
  if (!names) return names.error();
  for (const Binding& name : *names) {
    auto base = find_base_name(transaction_.db(), name.parent, name.name);
    if (!base) return base.error();
    auto done = successor == 0 ? erase_name(transaction_, name.parent, name.name)
                               : put_name(transaction_, name.parent, name.name, successor);
    if (!done) return done;
    if (done = put_base_name(transaction_, name.parent, name.name, base->value_or(0), successor); !done)
      return done;
    if (successor == 0) {
      changes_.push_back({NameChange::Kind::kRemoved, name.parent, name.name, node.id, 0});
    } else {
      changes_.push_back({NameChange::Kind::kReplaced, name.parent, name.name, successor, node.id});
    }
  }
  if (auto done = make_orphan(transaction_, node); !done) return done;
  if (!names->empty()) {
    const Binding& name = names->front();
    if (auto done = note_former_name(transaction_, node.id, name.parent, name.name); !done) return done;
  }
  if (successor == 0) return {};
  auto count = count_names(transaction_.db(), successor, kMaxNamesCounted);
  if (!count) return count.error();
  return set_nlink(transaction_, successor, std::max(*count, 1U));
}

}  // namespace rsyncfs
