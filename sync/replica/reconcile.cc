// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/replica/reconcile.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "sync/replica/base_bindings.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/bases.h"
#include "sync/replica/content_rows.h"
#include "sync/replica/former_names.h"
#include "sync/replica/orphans.h"
#include "sync/replica/source_node.h"
#include "sync/replica/versions.h"

namespace rsyncfs {
namespace {

constexpr Sql kStoredNames{"SELECT names.name, " RSYNCFS_NODE_COLUMNS
                           ", n.link_target FROM names JOIN nodes AS n ON n.id=names.node"
                           " WHERE names.parent=? ORDER BY names.name"};
constexpr Sql kNamesOfNode{"SELECT parent, name FROM names WHERE node=? LIMIT ?"};

// Hard links beyond this are not looked at one by one when an ino could be kept.
constexpr int64_t kMaxNamesCompared = 1024;
// More hard links than any local file system has.
constexpr uint32_t kMaxNamesCounted = 1 << 20;

}  // namespace

Reconciler::Reconciler(Transaction& transaction, DirtyFiles& files, NodeId directory, HardLinkGroups& groups,
                       int64_t now_s)
    : transaction_(transaction),
      directory_(directory),
      groups_(groups),
      now_s_(now_s),
      new_names_(transaction, directory),
      something_pending_(transaction.something_pending()),
      losses_(transaction, files, changes_),
      withdrawal_(transaction, losses_, changes_),
      pending_(transaction, directory, groups, losses_, changes_, collisions_) {}

Result<DirectoryChanges> Reconciler::run(const std::vector<ListedName>& names, bool complete,
                                         std::vector<NodeId>& nodes_out) {
  names_ = &names;
  transaction_.orphaned().clear();
  nodes_out.assign(names.size(), 0);
  auto self = find_node(transaction_.db(), directory_);
  if (!self) return self.error();
  if (!self->has_value() || (*self)->orphan || !S_ISDIR((*self)->attr.mode)) {
    return Error(Errc::kNotFound, "no such directory in the store");
  }
  self_ = **self;
  if (something_pending_) {
    if (auto done = pending_.load(); !done) return done.error();
  }
  if (auto done = compare(names, complete, nodes_out); !done) return done.error();
  if (complete) {
    if (auto done = collect_vanished(); !done) return done.error();
  }
  if (auto done = follow_renamed_directories(); !done) return done.error();
  // First what is gone: a node that stays may have lost its other names.
  for (const Removal& removal : removals_) {
    if (auto done = remove(removal); !done) return done.error();
  }
  if (auto done = find_renamed(); !done) return done.error();
  // Then what keeps its node, so that a new name of a hard-link group joins the node that has the content.
  std::stable_partition(steps_.begin(), steps_.end(), [](const Step& step) { return step.same_version; });
  for (const Step& step : steps_) {
    auto collision = collides(step);
    if (!collision) return collision.error();
    if (*collision) continue;
    auto node = apply(step);
    if (!node) return node.error();
    nodes_out[step.listed] = *node;
  }
  if (auto done = new_names_.flush(); !done) return done.error();
  if (auto done = reconcile_pending(nodes_out); !done) return done.error();
  if (auto done = losses_.settle(); !done) return done.error();
  if (auto done = find_renamed(); !done) return done.error();
  if (auto done = finish_directory(complete); !done) return done.error();
  note_renamed();
  return DirectoryChanges{std::move(changes_), std::move(collisions_), std::move(growths_)};
}

Result<void> Reconciler::compare(const std::vector<ListedName>& names, bool complete,
                                 std::vector<NodeId>& nodes_out) {
  Query query(transaction_.db(), kStoredNames);
  query.unsigned_integer(directory_);
  auto row = query.step();
  if (!row) return row.error();
  size_t next = 0;
  while (*row || next < names.size()) {
    const std::string_view stored_name = *row ? query.blob_at(0) : std::string_view();
    const int order = !*row ? 1 : next == names.size() ? -1 : stored_name.compare(names[next].name);
    if (order < 0) {
      Node stored = node_at(query, 1);
      if (differs(stored_name, stored)) {
        if (complete) pending_names_.push_back({std::string(stored_name), nullptr});
      } else if (complete) {
        removals_.push_back({std::string(stored_name), stored});
      } else if (S_ISDIR(stored.attr.mode)) {
        ++subdirectories_;
      }
    } else {
      if (names[next].name.empty() || (next > 0 && names[next].name <= names[next - 1].name)) {
        return Error(Errc::kProtocol, "the names of a listed directory are not in order");
      }
      if (S_ISDIR(names[next].attr.mode)) ++subdirectories_;
      const Node stored = order > 0 ? Node() : node_at(query, 1);
      if (differs(names[next].name, stored)) {
        pending_names_.push_back({std::string(names[next].name), &names[next]});
      } else if (order > 0) {
        steps_.push_back({next, Node(), false});
      } else if (auto done = compare_one(next, stored, query.blob_at(1 + kNodeColumns), nodes_out); !done) {
        return done;
      }
      ++next;
    }
    if (order <= 0) {
      row = query.step();
      if (!row) return row.error();
    }
  }
  return {};
}

// Names that users removed, and that the source has no more.
Result<void> Reconciler::collect_vanished() {
  for (const auto& [name, base] : pending_.differing()) {
    if (find_listed(name) != nullptr) continue;
    auto local = local_binding(transaction_.db(), directory_, name);
    if (!local) return local.error();
    if (*local == 0) pending_names_.push_back({name, nullptr});
  }
  return {};
}

Result<void> Reconciler::reconcile_pending(std::vector<NodeId>& nodes_out) {
  for (const PendingName& pending : pending_names_) {
    auto node = pending_.reconcile(pending.name, pending.listed);
    if (!node) return node.error();
    if (pending.listed != nullptr) nodes_out[static_cast<size_t>(pending.listed - names_->data())] = *node;
  }
  return {};
}

Result<void> Reconciler::compare_one(size_t index, const Node& stored, std::string_view stored_target,
                                     std::vector<NodeId>& nodes_out) {
  const ListedName& listed = (*names_)[index];
  const bool same = same_version(listed, stored, stored_target);
  bool done = same && same_attributes(listed, stored);
  if (done && listed.hlink_group != 0) {
    done = groups_.node_of(listed.hlink_group) == stored.id;
  } else if (done && !S_ISDIR(stored.attr.mode)) {
    done = stored.attr.nlink <= 1;
  }
  if (done && listed.xattrs_known) {
    auto set = transaction_.writer().xattr_sets().intern(transaction_.db(), listed.xattrs);
    if (!set) return set.error();
    done = *set == stored.xattr_set;
  }
  if (done) {
    nodes_out[index] = stored.id;
  } else {
    steps_.push_back({index, stored, same});
  }
  return {};
}

Result<bool> Reconciler::stays_for_its_changes(const Removal& removal) {
  if (!something_pending_ || !S_ISDIR(removal.stored.attr.mode)) return false;
  auto left = withdrawal_.withdraw(removal.stored);
  if (!left || !*left) return left;
  if (auto done = put_base_name(transaction_, directory_, removal.name, 0, removal.stored.id); !done) {
    return done.error();
  }
  losses_.add(removal.stored.id);
  return true;
}

Result<void> Reconciler::remove(const Removal& removal) {
  auto stays = stays_for_its_changes(removal);
  if (!stays) return stays.error();
  if (*stays) return {};
  if (auto done = erase_name(transaction_, directory_, removal.name); !done) return done;
  changes_.push_back({NameChange::Kind::kRemoved, directory_, removal.name, removal.stored.id, 0});
  if (auto done = lose_name(transaction_, removal.stored, changes_); !done) return done;
  return note_loss(removal.stored, removal.name, 0);
}

Result<void> Reconciler::note_loss(const Node& stored, std::string_view name, NodeId successor) {
  if (something_pending_) losses_.add(stored.id, successor);
  // Somebody may have it open, and write to it.
  if (!S_ISREG(stored.attr.mode)) return {};
  return note_former_name(transaction_, stored.id, directory_, name);
}

Result<bool> Reconciler::collides(const Step& step) {
  if (!something_pending_ || step.stored.id == 0 || step.same_version || !S_ISDIR(step.stored.attr.mode)) {
    return false;
  }
  auto held = holds_changes(transaction_.db(), step.stored.id);
  if (!held || !*held) return held;
  const ListedName& listed = (*names_)[step.listed];
  collisions_.push_back(
      {directory_, std::string(listed.name), KeptListedName::of(listed), step.stored.id, step.stored.id});
  return true;
}

Result<NodeId> Reconciler::apply(const Step& step) {
  return S_ISDIR((*names_)[step.listed].attr.mode) ? apply_directory(step) : apply_other(step);
}

Result<NodeId> Reconciler::apply_directory(const Step& step) {
  if (!step.same_version) return renew(step);
  // Its own nlink comes from its own listing.
  if (auto done = update((*names_)[step.listed], step.stored, step.stored.attr.nlink); !done)
    return done.error();
  return step.stored.id;
}

Result<NodeId> Reconciler::apply_other(const Step& step) {
  const ListedName& listed = (*names_)[step.listed];
  if (listed.hlink_group != 0) {
    if (const NodeId known = groups_.node_of(listed.hlink_group); known != 0) {
      auto target = find_node(transaction_.db(), known);
      if (!target) return target.error();
      if (target->has_value() && !(*target)->orphan && same_type(listed, **target))
        return join_group(step, **target);
    }
  }
  if (!step.same_version) {
    auto in_place = may_change_in_place(step);
    if (!in_place) return in_place.error();
    if (!*in_place) {
      auto growth = growth_of(step);
      if (!growth) return growth.error();
      if (growth->held) {
        growths_.push_back({step.stored.id, directory_, step.stored.version(), KeptListedName::of(listed)});
        return step.stored.id;
      }
      if (!growth->proven) return renew(step);
      transaction_.writer().growths().forget(step.stored.id);
    } else if (auto done = find_former_self(step.stored.id, listed.attr); !done) {
      return done.error();
    }
  }
  auto separate = must_separate(step);
  if (!separate) return separate.error();
  return *separate ? renew(step) : keep(step);
}

Result<NodeId> Reconciler::join_group(const Step& step, const Node& target) {
  const ListedName& listed = (*names_)[step.listed];
  if (step.stored.id != target.id) {
    if (auto done = lead_to(step, target.id); !done) return done.error();
  }
  auto nlink = nlink_in_group(listed, target);
  if (!nlink) return nlink.error();
  // The others of a group are of one version by the source's word; the first one's size and time are kept.
  NodeAttributes first = target.attr;
  if (target.differences != 0) {
    auto base = base_state(transaction_.db(), target.id);
    if (!base) return base.error();
    first = base->attr;
  }
  ListedName as_target = listed;
  as_target.attr.size = first.size;
  as_target.attr.mtime_s = first.mtime_s;
  as_target.attr.mtime_ns = first.mtime_ns;
  as_target.attr.rdev_major = first.rdev_major;
  as_target.attr.rdev_minor = first.rdev_minor;
  if (auto done = update(as_target, target, *nlink); !done) return done.error();
  return target.id;
}

Result<NodeId> Reconciler::keep(const Step& step) {
  const ListedName& listed = (*names_)[step.listed];
  Node stored = step.stored;
  if (stored.attr.nlink > 1) {
    // Another name of it may have been here before.
    auto now = find_node(transaction_.db(), stored.id);
    if (!now) return now.error();
    if (now->has_value()) stored = **now;
  }
  uint32_t nlink = std::max(listed.attr.nlink, 1U);
  if (listed.hlink_group != 0) groups_.set(listed.hlink_group, stored.id);
  if (listed.hlink_group != 0 || listed.attr.nlink == 0 || something_pending_) {
    auto in_group = nlink_in_group(listed, stored);
    if (!in_group) return in_group.error();
    nlink = *in_group;
  }
  if (auto done = update(listed, stored, nlink); !done) return done.error();
  return stored.id;
}

Result<uint32_t> Reconciler::nlink_in_group(const ListedName& listed, const Node& node) {
  if (something_pending_) return shown_nlink(transaction_.db(), node, listed.attr.nlink);
  const uint32_t told = listed.attr.nlink != 0 ? listed.attr.nlink : node.attr.nlink;
  auto names = count_names(transaction_.db(), node.id, kMaxNamesCounted);
  if (!names) return names.error();
  return std::max(told, *names);
}

Result<bool> Reconciler::may_change_in_place(const Step& step) {
  if (step.stored.id == 0 || !S_ISREG(step.stored.attr.mode) || !S_ISREG((*names_)[step.listed].attr.mode))
    return false;
  auto content = find_content(transaction_.db(), step.stored.id);
  if (!content) return content.error();
  if (content->has_value()) return false;
  // Other names may go on showing the version before.
  auto inherit = may_inherit_ino(step);
  if (!inherit || !*inherit) return inherit;
  return transaction_.writer().seen_nodes().may_change(step.stored.id);
}

Result<Reconciler::Growth> Reconciler::growth_of(const Step& step) {
  const ListedName& listed = (*names_)[step.listed];
  const Node& stored = step.stored;
  if (stored.id == 0 || !S_ISREG(stored.attr.mode) || !S_ISREG(listed.attr.mode)) return Growth();
  if (listed.attr.size <= stored.attr.size || stored.attr.size == 0) return Growth();
  if (stored.differences != 0 || stored.attr.nlink > 1 || listed.hlink_group != 0) return Growth();
  const FileVersion version{listed.attr.size, listed.attr.mtime_s, listed.attr.mtime_ns};
  const auto known = transaction_.writer().growths().grew(stored.id, version);
  if (known ? !*known : may_hold_ == nullptr) return Growth();
  auto content = find_content(transaction_.db(), stored.id);
  if (!content) return content.error();
  if (!content->has_value() || !(*content)->sound || !(*content)->complete) return Growth();
  if (known) return Growth{(*content)->place.size == listed.attr.size, false};
  const bool held = (*content)->place.size <= listed.attr.size && (*may_hold_)(stored.id);
  return Growth{false, held};
}

Result<bool> Reconciler::must_separate(const Step& step) {
  const ListedName& listed = (*names_)[step.listed];
  if (listed.hlink_group != 0) {
    const uint32_t other = groups_.group_of(step.stored.id);
    return other != 0 && other != listed.hlink_group;
  }
  if (step.stored.attr.nlink <= 1 || listed.attr.nlink == 0) return false;
  // The source shows this name as an inode of its own, and we have others that lead to the same node.
  if (something_pending_) {
    auto names = base_names_of(transaction_.db(), step.stored.id, 2);
    if (!names) return names.error();
    return names->size() > 1;
  }
  auto names = count_names(transaction_.db(), step.stored.id, 2);
  if (!names) return names.error();
  return *names > 1;
}

Result<bool> Reconciler::may_inherit_ino(const Step& step) {
  if (step.stored.attr.nlink <= 1 || S_ISDIR(step.stored.attr.mode)) return true;
  const uint32_t group = (*names_)[step.listed].hlink_group;
  Query query(transaction_.db(), kNamesOfNode);
  query.unsigned_integer(step.stored.id).integer(kMaxNamesCompared + 1);
  for (int64_t seen = 0;; ++seen) {
    auto row = query.step();
    if (!row) return row.error();
    if (!*row) return true;
    if (seen == kMaxNamesCompared || query.unsigned_at(0) != directory_) return false;
    const std::string_view name = query.blob_at(1);
    if (name == (*names_)[step.listed].name) continue;
    const ListedName* other = find_listed(name);
    if (group == 0 || other == nullptr || other->hlink_group != group) return false;
  }
}

Result<NodeId> Reconciler::renew(const Step& step) {
  const ListedName& listed = (*names_)[step.listed];
  Node node;
  node.attr = listed.attr;
  node.attr.nlink = std::max(listed.attr.nlink, 1U);
  if (listed.xattrs_known) {
    auto set = transaction_.writer().xattr_sets().intern(transaction_.db(), listed.xattrs);
    if (!set) return set.error();
    node.xattr_set = *set;
  }
  // A name that is split off an inode which lives on is another inode.
  if (step.stored.id != 0 && !step.same_version) {
    auto inherit = may_inherit_ino(step);
    if (!inherit) return inherit.error();
    if (*inherit) node.ino = step.stored.ino;
  }
  if (step.stored.id == 0 && listed.hlink_group == 0 && !something_pending_) return add_new(step, node);
  auto id = insert_node(transaction_, node, listed.link_target);
  if (!id) return id;
  if (listed.hlink_group != 0 && !S_ISDIR(listed.attr.mode)) groups_.set(listed.hlink_group, *id);
  if (S_ISREG(listed.attr.mode)) {
    if (step.stored.id != 0 && !step.same_version) {
      if (auto done = note_basis(transaction_, step.stored, *id); !done) return done.error();
    }
    if (auto done = find_former_self(*id, node.attr); !done) return done.error();
  }
  if (auto done = lead_to(step, *id); !done) return done.error();
  return id;
}

// Nothing else that is done for this directory asks for it.
Result<NodeId> Reconciler::add_new(const Step& step, const Node& node) {
  const ListedName& listed = (*names_)[step.listed];
  auto id = new_names_.add(node, listed.name, listed.link_target);
  if (!id) return id;
  if (S_ISREG(listed.attr.mode)) {
    if (auto done = find_former_self(*id, node.attr); !done) return done.error();
  }
  changes_.push_back({NameChange::Kind::kCreated, directory_, std::string(listed.name), *id, 0});
  return id;
}

Result<void> Reconciler::lead_to(const Step& step, NodeId node) {
  const std::string_view name = (*names_)[step.listed].name;
  if (auto done = put_name(transaction_, directory_, name, node); !done) return done;
  if (step.stored.id == 0) {
    changes_.push_back({NameChange::Kind::kCreated, directory_, std::string(name), node, 0});
    return {};
  }
  changes_.push_back({NameChange::Kind::kReplaced, directory_, std::string(name), node, step.stored.id});
  if (auto done = lose_name(transaction_, step.stored, changes_); !done) return done;
  return note_loss(step.stored, name, node);
}

Result<void> Reconciler::update(const ListedName& listed, const Node& stored, uint32_t nlink) {
  if (stored.differences != 0) return merge(listed, stored, nlink);
  Node wanted = stored;
  wanted.attr = listed.attr;
  wanted.attr.nlink = nlink;
  if (something_pending_ && S_ISDIR(stored.attr.mode)) {
    auto ours = has_pending_names(transaction_.db(), stored.id);
    if (!ours) return ours.error();
    if (*ours) {
      wanted.attr.mtime_s = stored.attr.mtime_s;
      wanted.attr.mtime_ns = stored.attr.mtime_ns;
    }
  }
  if (listed.xattrs_known) {
    auto set = transaction_.writer().xattr_sets().intern(transaction_.db(), listed.xattrs);
    if (!set) return set.error();
    wanted.xattr_set = *set;
  }
  if (wanted.attr == stored.attr && wanted.xattr_set == stored.xattr_set) return {};
  if (wanted.ctime) wanted.ctime = FileTime::now();
  if (auto done = update_node(transaction_, wanted); !done) return done;
  if (wanted.xattr_set != stored.xattr_set) {
    transaction_.use_xattr_set(wanted.xattr_set, 1);
    transaction_.use_xattr_set(stored.xattr_set, -1);
  }
  changes_.push_back({NameChange::Kind::kAttributes, directory_, std::string(listed.name), stored.id, 0});
  return {};
}

// A name of a hard-link group that users changed.
Result<void> Reconciler::merge(const ListedName& listed, const Node& stored, uint32_t nlink) {
  auto known = read_known_node(transaction_.db(), stored.id);
  if (!known) return known.error();
  auto changed = follow_source(transaction_, *known, listed, nlink);
  if (!changed) return changed.error();
  if (*changed) {
    changes_.push_back({NameChange::Kind::kAttributes, directory_, std::string(listed.name), stored.id, 0});
  }
  return {};
}

Result<void> Reconciler::finish_directory(bool complete) {
  const bool wrote = !changes_.empty();
  if (something_pending_) {
    auto counted = read_subdirectories(transaction_.db(), directory_);
    if (!counted) return counted.error();
    subdirectories_ = *counted;
  }
  const bool known = complete || self_.listed_at_s != 0;
  const uint32_t nlink = known ? 2 + subdirectories_ : self_.attr.nlink;
  int64_t listed_at_s = self_.listed_at_s;
  if (complete && (wrote || listed_at_s == 0)) listed_at_s = now_s_;
  if (nlink == self_.attr.nlink && listed_at_s == self_.listed_at_s) return {};
  if (auto done = set_listing_state(transaction_, directory_, nlink, listed_at_s); !done) return done;
  if (nlink == self_.attr.nlink) return {};
  auto name = find_name_of(transaction_.db(), directory_);
  if (!name) return name.error();
  NameChange change{NameChange::Kind::kAttributes, 0, {}, directory_, 0};
  if (name->has_value()) {
    change.parent = (*name)->first;
    change.name = std::move((*name)->second);
  }
  changes_.push_back(std::move(change));
  return {};
}

const ListedName* Reconciler::find_listed(std::string_view name) const {
  const auto found =
      std::lower_bound(names_->begin(), names_->end(), name,
                       [](const ListedName& listed, std::string_view key) { return listed.name < key; });
  return found != names_->end() && found->name == name ? &*found : nullptr;
}

Result<std::vector<NameChange>> apply_own_attributes(Transaction& transaction, NodeId node,
                                                     const ListedName& self) {
  auto stored = find_node(transaction.db(), node);
  if (!stored) return stored.error();
  if (!stored->has_value() || !same_type(self, **stored))
    return Error(Errc::kNotFound, "no such node in the store");
  std::vector<NameChange> changes;
  ListedName listed = self;
  // Another version of a file is another node, which only its directory can make.
  if (S_ISREG(self.attr.mode)) {
    listed.attr.size = (*stored)->attr.size;
    listed.attr.mtime_s = (*stored)->attr.mtime_s;
    listed.attr.mtime_ns = (*stored)->attr.mtime_ns;
  }
  listed.attr.rdev_major = (*stored)->attr.rdev_major;
  listed.attr.rdev_minor = (*stored)->attr.rdev_minor;
  auto known = read_known_node(transaction.db(), node);
  if (!known) return known.error();
  // What the source does not have is not what it lists.
  if (!known->base.present) return changes;
  if (S_ISREG(self.attr.mode) && (*stored)->differences != 0) return changes;
  auto changed = follow_source(transaction, *known, listed, (*stored)->attr.nlink);
  if (!changed) return changed.error();
  if (!*changed) return changes;
  NameChange change{NameChange::Kind::kAttributes, 0, {}, node, 0};
  auto name = find_name_of(transaction.db(), node);
  if (!name) return name.error();
  if (name->has_value()) {
    change.parent = (*name)->first;
    change.name = std::move((*name)->second);
  }
  changes.push_back(std::move(change));
  return changes;
}

}  // namespace rsyncfs
