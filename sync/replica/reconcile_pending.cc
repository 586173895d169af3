// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/reconcile_pending.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "sync/replica/base_bindings.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/former_names.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/orphans.h"
#include "sync/replica/versions.h"

namespace rsyncfs {
namespace {

constexpr size_t kAllNames = std::numeric_limits<int64_t>::max();
// Bounds a damaged store's cycle.
constexpr int kMaxDepth = 1 << 16;
constexpr uint32_t kMaxNamesCounted = 1 << 20;

constexpr Sql kOwnPlace{
    "SELECT 1 FROM names AS n WHERE n.node=? AND EXISTS"
    " (SELECT 1 FROM base_names AS b WHERE b.parent=n.parent AND b.name=n.name) LIMIT 1"};
constexpr Sql kDiffering{"SELECT name, node FROM base_names WHERE parent=?"};

}  // namespace

Result<void> PendingReconciler::load() {
  Query query(transaction_.db(), kDiffering);
  query.unsigned_integer(directory_);
  for (;;) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return {};
    base_.emplace(query.blob_at(0), query.unsigned_at(1));
  }
}

Result<NodeId> PendingReconciler::reconcile(std::string_view name, const ListedName* listed) {
  Sides sides{name, listed, 0, 0};
  auto local = local_binding(transaction_.db(), directory_, name);
  if (!local) return local.error();
  sides.local = *local;
  // Read again: settling another name may have changed it.
  auto base = base_binding(transaction_.db(), directory_, name);
  if (!base) return base.error();
  sides.base = *base;
  Result<NodeId> node = NodeId{0};
  if (sides.base != 0) {
    auto known = read_known_node(transaction_.db(), sides.base);
    if (!known) return known.error();
    Result<bool> seen = sides.base == sides.local;
    if (!*seen) seen = is_moved(sides.base);
    if (!seen) return seen.error();
    node = *seen ? reconcile_node(sides, *known) : reconcile_name(sides);
  } else {
    node = reconcile_name(sides);
  }
  if (node && *node != 0 && listed != nullptr && listed->hlink_group != 0 && !S_ISDIR(listed->attr.mode) &&
      groups_.node_of(listed->hlink_group) == 0) {
    groups_.set(listed->hlink_group, *node);
  }
  return node;
}

Result<NodeId> PendingReconciler::reconcile_node(const Sides& sides, const KnownNode& known) {
  Side remote;
  if (sides.listed != nullptr) {
    auto set = listed_xattr_set(transaction_, *sides.listed, known.base.xattr_set);
    if (!set) return set.error();
    remote = remote_side(*sides.listed, *set);
  }
  const Side base = known.base_side();
  const Side local = known.local_side();
  const Verdict verdict = judge(base, local, remote);
  if (verdict == Verdict::kNothing) return sides.base;
  // Whether bytes, target or number are other ones.
  const bool other_object = judge(base, Side(), remote) == Verdict::kResurrect;
  if (other_object && sides.local != 0 && sides.local != sides.base) {
    // What users put here may have arrived there already.
    auto arrived = find_arrived(sides);
    if (!arrived) return arrived.error();
    if (*arrived) return converge(sides, **arrived);
  }
  switch (verdict) {
    case Verdict::kConverged: {
      // Its other names may still lead to what was there before.
      auto one_of_several = is_one_of_several(known);
      if (!one_of_several) return one_of_several.error();
      if (*one_of_several) return collide(sides);
      auto set = listed_xattr_set(transaction_, *sides.listed, known.base.xattr_set);
      if (!set) return set.error();
      BaseNode now = base_of_listed(sides.base, *sides.listed, *set);
      now.foreign = known.base.foreign;
      if (auto done = put_base_node(transaction_, now); !done) return done.error();
      return sides.base;
    }
    case Verdict::kTakeRemote:
    case Verdict::kMerge:
      if (sides.listed == nullptr) return lose(sides, known);
      if (!same_type(*sides.listed, known.node)) return replace_object(sides, known);
      return other_object ? replace_version(sides, known) : follow(sides, known);
    case Verdict::kRecreate:
      return lose(sides, known);
    case Verdict::kNothing:
    case Verdict::kConflict:
    case Verdict::kResurrect:
      break;
  }
  return sides.base == sides.local ? collide(sides) : replace_object(sides, known);
}

Result<std::optional<KnownNode>> PendingReconciler::find_arrived(const Sides& sides) {
  auto local = read_known_node(transaction_.db(), sides.local);
  if (!local) return local.error();
  auto verdict = judge_name(sides, nullptr, &*local);
  if (!verdict) return verdict.error();
  if (*verdict != Verdict::kConverged) return std::optional<KnownNode>();
  return std::optional<KnownNode>(std::move(*local));
}

// A file whose bytes are to be pushed, and then to all of its names at the source.
Result<bool> PendingReconciler::is_one_of_several(const KnownNode& known) {
  if (!S_ISREG(known.node.attr.mode) || (known.node.differences & kBytesDiffer) == 0) return false;
  auto names = base_names_of(transaction_.db(), known.node.id, 2);
  if (!names) return names.error();
  return names->size() > 1;
}

Result<bool> PendingReconciler::is_moved(NodeId node) {
  Query query(transaction_.db(), kOwnPlace);
  query.unsigned_integer(node);
  return query.step();
}

Result<NodeId> PendingReconciler::follow(const Sides& sides, const KnownNode& known) {
  auto nlink = S_ISDIR(known.node.attr.mode)
                   ? Result<uint32_t>(known.node.attr.nlink)
                   : shown_nlink(transaction_.db(), known.node, sides.listed->attr.nlink);
  if (!nlink) return nlink.error();
  auto changed = follow_source(transaction_, known, *sides.listed, *nlink);
  if (!changed) return changed.error();
  if (!*changed) return sides.base;
  auto place = find_name_of(transaction_.db(), sides.base);
  if (!place) return place.error();
  if (place->has_value()) {
    changes_.push_back(
        {NameChange::Kind::kAttributes, (*place)->first, std::move((*place)->second), sides.base, 0});
  }
  return sides.base;
}

Result<NodeId> PendingReconciler::replace_version(const Sides& sides, const KnownNode& known) {
  const bool alone = known.node.attr.nlink <= 1;
  auto version = insert_next_version(transaction_, known, *sides.listed, alone ? known.node.ino : 0);
  if (!version) return version;
  if (auto done = move_names(sides, known, *version); !done) return done.error();
  auto local = local_binding(transaction_.db(), directory_, sides.name);
  if (!local) return local.error();
  if (auto done = put_base_name(transaction_, directory_, sides.name, *version, *local); !done) {
    return done.error();
  }
  losses_.add(sides.base, *version);
  return version;
}

// The names by which users see it lead to the version. Names that it has at the source as well wait for their
// own listing.
Result<void> PendingReconciler::move_names(const Sides& sides, const KnownNode& known, NodeId version) {
  auto names = local_names_of(transaction_.db(), sides.base, kAllNames);
  if (!names) return names.error();
  uint32_t moved = 0;
  for (const Binding& name : *names) {
    const bool here = name.parent == directory_ && name.name == sides.name;
    auto base = find_base_name(transaction_.db(), name.parent, name.name);
    if (!base) return base.error();
    if (!here && !base->has_value()) continue;
    if (auto done = put_name(transaction_, name.parent, name.name, version); !done) return done;
    if (base->has_value()) {
      if (auto done = put_base_name(transaction_, name.parent, name.name, **base, version); !done)
        return done;
    }
    changes_.push_back({NameChange::Kind::kReplaced, name.parent, name.name, version, sides.base});
    ++moved;
  }
  if (auto done = set_nlink(transaction_, version, std::max(moved, 1U)); !done) return done;
  if (moved == names->size()) {
    if (auto done = make_orphan(transaction_, known.node); !done || moved == 0) return done;
    const Binding& name = names->front();
    return note_former_name(transaction_, sides.base, name.parent, name.name);
  }
  const auto left = static_cast<uint32_t>(names->size() - moved);
  return set_nlink(transaction_, sides.base, std::max(left, known.node.attr.nlink - moved));
}

// Another kind of thing is there now, or one that cannot be merged with what users made of the node
// elsewhere.
Result<NodeId> PendingReconciler::replace_object(const Sides& sides, const KnownNode& known) {
  if (sides.base == sides.local && S_ISDIR(known.node.attr.mode)) {
    auto held = holds_changes(transaction_.db(), sides.base);
    if (!held) return held.error();
    if (*held) return collide(sides);
  }
  Sides now = sides;
  // Users see something else here already.
  if (sides.base != sides.local && sides.local != 0) return collide(sides);
  auto gone = lose(sides, known);
  if (!gone) return gone;
  now.base = 0;
  now.local = 0;
  if (sides.base == sides.local) {
    // Something of a directory would have stayed, but then it would have collided.
    auto local = local_binding(transaction_.db(), directory_, sides.name);
    if (!local) return local.error();
    if (*local != 0) {
      if (auto done = erase_name(transaction_, directory_, sides.name); !done) return done.error();
      if (auto done = put_base_name(transaction_, directory_, sides.name, 0, 0); !done) return done.error();
      changes_.push_back({NameChange::Kind::kRemoved, directory_, std::string(sides.name), sides.base, 0});
      if (auto done = lose_name(transaction_, known.node, changes_); !done) return done.error();
      if (auto done = note_former_name(transaction_, sides.base, directory_, sides.name); !done) {
        return done.error();
      }
    }
  }
  return appear(now);
}

Result<NodeId> PendingReconciler::lose(const Sides& sides, const KnownNode& known) {
  if (sides.base == sides.local && S_ISDIR(known.node.attr.mode)) {
    auto left = withdrawal_.withdraw(known.node);
    if (!left) return left.error();
    if (!*left) {
      if (auto done = erase_name(transaction_, directory_, sides.name); !done) return done.error();
      if (auto done = put_base_name(transaction_, directory_, sides.name, 0, 0); !done) return done.error();
      changes_.push_back({NameChange::Kind::kRemoved, directory_, std::string(sides.name), sides.base, 0});
      if (auto done = lose_name(transaction_, known.node, changes_); !done) return done.error();
      losses_.add(sides.base);
      return NodeId{0};
    }
  }
  if (auto done = put_base_name(transaction_, directory_, sides.name, 0, sides.local); !done) {
    return done.error();
  }
  losses_.add(sides.base);
  return NodeId{0};
}

Result<Verdict> PendingReconciler::judge_name(const Sides& sides, const KnownNode* base,
                                              const KnownNode* local) {
  const Side before = base != nullptr ? base->base_side() : Side();
  Side now = local != nullptr ? local->local_side() : Side();
  now.other_object = true;
  if (sides.listed == nullptr) return judge(before, now, Side());
  auto set = listed_xattr_set(transaction_, *sides.listed, before.xattr_set);
  if (!set) return set.error();
  const Side remote = remote_side(*sides.listed, *set);
  const Verdict verdict = judge(before, now, remote);
  if (verdict != Verdict::kConflict || local == nullptr || !local->base.present) return verdict;
  // Something that the source had elsewhere was brought here: it has done so, too.
  if (local->local_side().other_object) return verdict;
  Side moved = local->base_side();
  moved.other_object = true;
  return judge(before, moved, remote);
}

// A directory that was removed here, and made anew, is the source's one without what was in it.
Result<void> PendingReconciler::unite(const Sides& sides) {
  auto children = base_children(transaction_.db(), sides.base, kAllNames);
  if (!children) return children.error();
  for (const Binding& child : *children) {
    if (auto done = put_base_name(transaction_, sides.base, child.name, 0, 0); !done) return done;
    auto local = local_binding(transaction_.db(), sides.local, child.name);
    if (!local) return local.error();
    if (auto done = put_base_name(transaction_, sides.local, child.name, child.node, *local); !done) {
      return done;
    }
  }
  return {};
}

Result<NodeId> PendingReconciler::reconcile_name(const Sides& sides) {
  std::optional<KnownNode> base;
  std::optional<KnownNode> local;
  for (const auto& [id, known] : {std::pair(sides.base, &base), std::pair(sides.local, &local)}) {
    if (id == 0) continue;
    auto read = read_known_node(transaction_.db(), id);
    if (!read) return read.error();
    *known = std::move(*read);
  }
  const bool made_anew = base && local && sides.listed != nullptr && S_ISDIR(sides.listed->attr.mode) &&
                         S_ISDIR(base->node.attr.mode) && S_ISDIR(local->node.attr.mode) &&
                         base->node.orphan && !local->base.present;
  if (made_anew) {
    if (auto done = unite(sides); !done) return done.error();
    return converge(sides, *local);
  }
  auto verdict = judge_name(sides, base ? &*base : nullptr, local ? &*local : nullptr);
  if (!verdict) return verdict.error();
  switch (*verdict) {
    case Verdict::kNothing:
      return sides.base;
    case Verdict::kTakeRemote:
    case Verdict::kResurrect:
      return appear(sides);
    case Verdict::kMerge:
      // What was removed here stays so.
      if (!base->node.orphan) return follow(sides, *base);
      if (auto done = follow_source(transaction_, *base, *sides.listed, 0); !done) return done.error();
      return sides.base;
    case Verdict::kConverged:
      if (sides.listed != nullptr) return converge(sides, *local);
      [[fallthrough]];
    case Verdict::kRecreate:
      if (auto done = put_base_name(transaction_, directory_, sides.name, 0, sides.local); !done) {
        return done.error();
      }
      losses_.add(sides.base);
      return NodeId{0};
    case Verdict::kConflict:
      break;
  }
  return collide(sides);
}

Result<NodeId> PendingReconciler::appear(const Sides& sides) {
  RSYNCFS_CHECK(sides.local == 0);
  const ListedName& listed = *sides.listed;
  NodeId node = 0;
  if (listed.hlink_group != 0 && !S_ISDIR(listed.attr.mode)) {
    const NodeId known = groups_.node_of(listed.hlink_group);
    auto found = find_node(transaction_.db(), known);
    if (!found) return found.error();
    if (found->has_value() && !(*found)->orphan && same_type(listed, **found)) node = known;
  }
  if (node == 0) {
    auto inserted = insert_listed(transaction_, listed, 0);
    if (!inserted) return inserted;
    node = *inserted;
  }
  if (auto done = put_name(transaction_, directory_, sides.name, node); !done) return done.error();
  if (auto done = put_base_name(transaction_, directory_, sides.name, node, node); !done) return done.error();
  changes_.push_back({NameChange::Kind::kCreated, directory_, std::string(sides.name), node, 0});
  losses_.add(sides.base);
  if (S_ISDIR(listed.attr.mode)) return node;
  auto names = count_names(transaction_.db(), node, kMaxNamesCounted);
  if (!names) return names.error();
  if (auto done = set_nlink(transaction_, node, std::max(*names, listed.attr.nlink)); !done)
    return done.error();
  return node;
}

Result<NodeId> PendingReconciler::converge(const Sides& sides, const KnownNode& local) {
  const bool is_directory = S_ISDIR(local.node.attr.mode);
  auto one_of_several = is_one_of_several(local);
  if (!one_of_several) return one_of_several.error();
  if (*one_of_several) return collide(sides);
  if (is_directory) {
    auto possible = may_be_in(sides.local, directory_);
    if (!possible) return possible.error();
    if (!*possible) return collide(sides);
    const Binding here{directory_, std::string(sides.name), sides.local};
    if (auto done = leave_other_places(transaction_, here); !done) return done.error();
  }
  if (local.base.present && (local.node.differences & kBytesDiffer) == 0) {
    auto nlink = is_directory ? Result<uint32_t>(local.node.attr.nlink)
                              : shown_nlink(transaction_.db(), local.node, sides.listed->attr.nlink);
    if (!nlink) return nlink.error();
    auto changed = follow_source(transaction_, local, *sides.listed, *nlink);
    if (!changed) return changed.error();
    if (*changed) {
      changes_.push_back(
          {NameChange::Kind::kAttributes, directory_, std::string(sides.name), sides.local, 0});
    }
  } else {
    auto set = listed_xattr_set(transaction_, *sides.listed, local.node.xattr_set);
    if (!set) return set.error();
    BaseNode base = base_of_listed(sides.local, *sides.listed, *set);
    // That the bytes are equal is for the next push to find out.
    base.foreign = local.base.foreign ||
                   (!local.base.present && S_ISREG(local.node.attr.mode) && local.node.attr.size != 0);
    if (auto done = put_base_node(transaction_, base); !done) return done.error();
  }
  if (auto done = put_base_name(transaction_, directory_, sides.name, sides.local, sides.local); !done) {
    return done.error();
  }
  losses_.add(sides.base);
  return sides.local;
}

// False: at the source, `parent` lies in the directory.
Result<bool> PendingReconciler::may_be_in(NodeId directory, NodeId parent) {
  NodeId at = parent;
  for (int depth = 0; at != kRootNode; ++depth) {
    if (at == directory) return false;
    if (depth == kMaxDepth) return Error(Errc::kCorrupt, "the source's directories form a circle");
    auto places = base_names_of(transaction_.db(), at, 1);
    if (!places) return places.error();
    if (places->empty()) return false;
    at = places->front().parent;
  }
  return true;
}

Result<NodeId> PendingReconciler::collide(const Sides& sides) {
  Collision collision;
  collision.parent = directory_;
  collision.name = sides.name;
  collision.theirs = KeptListedName::of(*sides.listed);
  collision.base = sides.base;
  collision.local = sides.local;
  collisions_.push_back(std::move(collision));
  return NodeId{0};
}

}  // namespace rsyncfs
