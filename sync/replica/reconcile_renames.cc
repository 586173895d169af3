// SPDX-License-Identifier: GPL-3.0-or-later
// What was renamed, by what vanished and what appeared in the list.
#include <sys/stat.h>

#include <unordered_set>
#include <utility>

#include "sync/replica/bases.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/reconcile.h"
#include "sync/replica/renamed_directories.h"
#include "sync/replica/renamed_files.h"

namespace rsyncfs {

// They stay the nodes that they are, with all that is below them.
Result<void> Reconciler::follow_renamed_directories() {
  if (removals_.empty()) return {};
  RenamedDirectories renamed;
  for (size_t i = 0; i < removals_.size(); ++i) {
    if (S_ISDIR(removals_[i].stored.attr.mode)) renamed.vanished(i, removals_[i].stored.attr);
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    const NodeAttributes& listed = (*names_)[steps_[i].listed].attr;
    if (steps_[i].stored.id == 0 && S_ISDIR(listed.mode)) renamed.appeared(i, listed);
  }
  std::unordered_set<NodeId> moved;
  for (const auto& [from, to] : renamed.found()) {
    const Node& node = removals_[from].stored;
    if (something_pending_) {
      auto held = holds_changes(transaction_.db(), node.id);
      if (!held) return held.error();
      if (*held) continue;
    }
    if (auto done = move_name(removals_[from], steps_[to]); !done) return done;
    moved.insert(node.id);
  }
  std::erase_if(removals_, [&](const Removal& removal) { return moved.contains(removal.stored.id); });
  return {};
}

Result<void> Reconciler::move_name(const Removal& from, Step& to) {
  const std::string_view name = (*names_)[to.listed].name;
  if (auto done = erase_name(transaction_, directory_, from.name); !done) return done;
  if (auto done = put_name(transaction_, directory_, name, from.stored.id); !done) return done;
  changes_.push_back({NameChange::Kind::kRemoved, directory_, from.name, from.stored.id, 0});
  changes_.push_back({NameChange::Kind::kCreated, directory_, std::string(name), from.stored.id, 0});
  to.stored = from.stored;
  to.same_version = true;
  return {};
}

Result<void> Reconciler::find_former_self(NodeId node, const NodeAttributes& attr) {
  const auto former = groups_.renamed().appeared(node, {attr.size, attr.mtime_s, attr.mtime_ns});
  if (!former) return {};
  renamed_.emplace(node, former->id);
  // It may have been deleted since.
  auto still = find_node(transaction_.db(), former->id);
  if (!still) return still.error();
  return still->has_value() ? note_basis(transaction_, **still, node) : Result<void>();
}

Result<void> Reconciler::find_renamed() {
  for (const Node& node : std::exchange(transaction_.orphaned(), {})) {
    const auto now = groups_.renamed().vanished(node);
    if (!now || *now == node.id) continue;
    renamed_.emplace(node.id, *now);
    auto content = find_content(transaction_.db(), *now);
    if (!content) return content.error();
    if (content->has_value()) continue;
    auto still = find_node(transaction_.db(), *now);
    if (!still) return still.error();
    if (!still->has_value()) continue;
    if (auto done = note_basis(transaction_, node, *now); !done) return done;
  }
  return {};
}

void Reconciler::note_renamed() {
  if (renamed_.empty()) return;
  for (NameChange& change : changes_) {
    if (const auto found = renamed_.find(change.node); found != renamed_.end())
      change.renamed = found->second;
  }
}

}  // namespace rsyncfs
