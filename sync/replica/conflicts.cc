// SPDX-License-Identifier: GPL-3.0-or-later
// Conflicts decided: what users see of a name, and what base says of it, each as one of the three policies
// has it.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>
#include <utility>

#include "sync/replica/base_bindings.h"
#include "sync/replica/base_rows.h"
#include "sync/replica/losses.h"
#include "sync/replica/name_edit.h"
#include "sync/replica/node_rows.h"
#include "sync/replica/orphans.h"
#include "sync/replica/pending_impl.h"
#include "sync/replica/source_node.h"

namespace rsyncfs {
namespace {

constexpr size_t kAllNames = std::numeric_limits<int64_t>::max();

// One name, within one transaction.
class Decision {
 public:
  Decision(Transaction& transaction, DirtyFiles& files, NodeId parent, std::string_view name)
      : transaction_(transaction),
        edit_(transaction),
        losses_(transaction, files, changes_),
        parent_(parent),
        name_(name) {}

  Result<void> load(std::string_view other_name) {
    auto directory = edit_.directory(parent_, other_name);
    if (!directory) return directory.error();
    directory_ = *directory;
    auto local = local_binding(transaction_.db(), parent_, name_);
    if (!local) return local.error();
    auto base = base_binding(transaction_.db(), parent_, name_);
    if (!base) return base.error();
    base_ = *base;
    if (*local == 0) return {};
    auto node = read_known_node(transaction_.db(), *local);
    if (!node) return node.error();
    local_ = std::move(*node);
    return {};
  }

  Result<std::vector<NameChange>> keep_both(const ListedName* theirs, std::string_view copy_name) {
    if (!local_) return take_theirs(theirs);
    if (auto done = edit_.expect_free(directory_, copy_name); !done) return done.error();
    auto taken = base_binding(transaction_.db(), parent_, copy_name);
    if (!taken) return taken.error();
    if (*taken != 0) return failed(EEXIST, "the source has something of that name");
    if (auto done = edit_.lead(directory_, copy_name, 0, local_->node.id); !done) return done.error();
    changes_.push_back({NameChange::Kind::kCreated, parent_, std::string(copy_name), local_->node.id, 0});
    if (auto done = leave_name_to(theirs, local_->node.id); !done) return done.error();
    return finish();
  }

  Result<std::vector<NameChange>> keep_ours(const ListedName* theirs) {
    const NodeId local = local_ ? local_->node.id : 0;
    Result<NodeId> base = NodeId{0};
    if (theirs != nullptr) {
      const bool replaced = local_ && may_replace(*theirs);
      base = replaced ? Result<NodeId>(local) : insert_hidden(transaction_, *theirs);
      if (!base) return base.error();
      if (replaced) {
        if (auto done = put_theirs_below(*theirs); !done) return done.error();
      }
    }
    if (auto done = put_base_name(transaction_, parent_, name_, *base, local); !done) return done.error();
    if (*base != base_) losses_.add(base_);
    return finish();
  }

  Result<std::vector<NameChange>> take_theirs(const ListedName* theirs) {
    const bool same_directory = theirs != nullptr && S_ISDIR(theirs->attr.mode) && local_ &&
                                local_->node.id == base_ && S_ISDIR(local_->node.attr.mode);
    if (same_directory) {
      if (auto done = drop_attributes(*theirs); !done) return done.error();
      return finish();
    }
    if (local_) {
      if (auto done = drop_local(); !done) return done.error();
    }
    auto returned = theirs != nullptr ? return_directory(*theirs) : Result<bool>(false);
    if (!returned) return returned.error();
    if (!*returned) {
      if (auto done = leave_name_to(theirs, local_ ? local_->node.id : 0); !done) return done.error();
    }
    return finish();
  }

 private:
  // Ours can take the place of theirs as the next version of it.
  bool may_replace(const ListedName& theirs) const {
    const uint32_t kind = local_->node.attr.mode & S_IFMT;
    if (kind != (theirs.attr.mode & S_IFMT)) return false;
    const bool elsewhere = local_->base.present && local_->node.id != base_;
    return (kind == S_IFREG || kind == S_IFDIR) && !elsewhere;
  }

  Result<void> put_theirs_below(const ListedName& theirs) {
    auto set = listed_xattr_set(transaction_, theirs, local_->base.xattr_set);
    if (!set) return set.error();
    BaseNode base = base_of_listed(local_->node.id, theirs, *set);
    base.foreign = S_ISREG(theirs.attr.mode);
    return put_base_node(transaction_, base);
  }

  // `before`: where the name led.
  Result<void> leave_name_to(const ListedName* theirs, NodeId before) {
    Result<NodeId> node = NodeId{0};
    if (theirs != nullptr) {
      node = insert_listed(transaction_, *theirs, 0);
      if (!node) return node.error();
      if (auto done = put_name(transaction_, parent_, name_, *node); !done) return done;
    } else if (before != 0) {
      if (auto done = erase_name(transaction_, parent_, name_); !done) return done;
    }
    if (auto done = put_base_name(transaction_, parent_, name_, *node, *node); !done) return done;
    losses_.add(base_, base_ == before ? 0 : *node);
    losses_.add(before);
    tell(*node, before);
    return {};
  }

  void tell(NodeId now, NodeId before) {
    if (now == 0 && before == 0) return;
    NameChange change{NameChange::Kind::kCreated, parent_, std::string(name_), now, 0};
    if (now == 0) {
      change.kind = NameChange::Kind::kRemoved;
      change.node = before;
    } else if (before != 0) {
      change.kind = NameChange::Kind::kReplaced;
      change.old_node = before;
    }
    changes_.push_back(std::move(change));
  }

  Result<void> drop_attributes(const ListedName& theirs) {
    auto set = listed_xattr_set(transaction_, theirs, local_->base.xattr_set);
    if (!set) return set.error();
    Node node = local_->node;
    const uint32_t nlink = node.attr.nlink;
    node.attr = theirs.attr;
    node.attr.nlink = nlink;
    node.xattr_set = *set;
    node.ctime = edit_.now();
    if (auto done = update_node(transaction_, node); !done) return done;
    transaction_.use_xattr_set(node.xattr_set, 1);
    transaction_.use_xattr_set(local_->node.xattr_set, -1);
    if (auto done = put_base_node(transaction_, base_of_listed(node.id, theirs, *set)); !done) return done;
    changes_.push_back({NameChange::Kind::kAttributes, parent_, std::string(name_), node.id, 0});
    return {};
  }

  // A directory that was removed here is there again, with what was removed in it still to be removed.
  Result<bool> return_directory(const ListedName& theirs) {
    if (base_ == 0 || !S_ISDIR(theirs.attr.mode)) return false;
    auto base = find_node(transaction_.db(), base_);
    if (!base) return base.error();
    if (!base->has_value() || !(*base)->orphan || !S_ISDIR((*base)->attr.mode)) return false;
    const NodeId before = local_ ? local_->node.id : 0;
    if (auto done = put_name(transaction_, parent_, name_, base_); !done) return done.error();
    if (auto done = put_base_name(transaction_, parent_, name_, base_, base_); !done) return done.error();
    auto live = revive(transaction_, **base);
    if (!live) return live.error();
    // It is to be listed again.
    if (auto done = set_listing_state(transaction_, base_, 1, 0); !done) return done.error();
    auto known = read_known_node(transaction_.db(), base_);
    if (!known) return known.error();
    if (auto done = follow_source(transaction_, *known, theirs, 1); !done) return done.error();
    tell(base_, before);
    return true;
  }

  // What users see here goes: back to where the source has it, or with all that is below it.
  Result<void> drop_local() {
    if (auto done = erase_name(transaction_, parent_, name_); !done) return done;
    const bool brought = local_->node.id != base_ && local_->base.present;
    auto orphan = drop_name(local_->node, brought);
    if (!orphan || !*orphan || !S_ISDIR(local_->node.attr.mode)) {
      return orphan ? Result<void>() : orphan.error();
    }
    std::vector<NodeId> directories{local_->node.id};
    while (!directories.empty()) {
      const NodeId directory = directories.back();
      directories.pop_back();
      if (auto done = drop_children(directory, directories); !done) return done;
    }
    return {};
  }

  Result<void> drop_children(NodeId directory, std::vector<NodeId>& below) {
    auto children = local_children(transaction_.db(), directory);
    if (!children) return children.error();
    for (const Binding& child : *children) {
      auto base = find_base_name(transaction_.db(), directory, child.name);
      if (!base) return base.error();
      if (auto done = erase_name(transaction_, directory, child.name); !done) return done;
      const NodeId bound = base->value_or(child.node);
      if (auto done = put_base_name(transaction_, directory, child.name, bound, 0); !done) return done;
      auto node = edit_.node(child.node);
      if (!node) return node.error();
      auto orphan = drop_name(*node, base->has_value());
      if (!orphan) return orphan.error();
      if (*orphan && S_ISDIR(node->attr.mode)) below.push_back(node->id);
    }
    return {};
  }

  // The node lost a name. `brought`: the source may have it elsewhere. True: it is an orphan.
  Result<bool> drop_name(const Node& node, bool brought) {
    auto names = local_names_of(transaction_.db(), node.id, kAllNames);
    if (!names) return names.error();
    if (!names->empty()) {
      const auto left = static_cast<uint32_t>(names->size());
      auto done = set_nlink(transaction_, node.id, std::max(left, std::max(node.attr.nlink, 1U) - 1));
      return done ? Result<bool>(false) : done.error();
    }
    if (brought) {
      auto back = send_back(node);
      if (!back) return back.error();
      if (*back) return false;
    }
    losses_.add(node.id);
    auto done = make_orphan(transaction_, node);
    return done ? Result<bool>(true) : done.error();
  }

  // To a place where the source has it, and nothing else is here. False: there is none.
  Result<bool> send_back(const Node& node) {
    auto places = base_names_of(transaction_.db(), node.id, kAllNames);
    if (!places) return places.error();
    for (const Binding& place : *places) {
      if (place.parent == parent_ && place.name == name_) continue;
      auto directory = find_node(transaction_.db(), place.parent);
      if (!directory) return directory.error();
      if (!directory->has_value() || (*directory)->orphan) continue;
      auto there = local_binding(transaction_.db(), place.parent, place.name);
      if (!there) return there.error();
      if (*there != 0) continue;
      if (auto done = put_name(transaction_, place.parent, place.name, node.id); !done) return done.error();
      if (auto done = put_base_name(transaction_, place.parent, place.name, node.id, node.id); !done) {
        return done.error();
      }
      if (auto done = count_subdirectories(transaction_, **directory); !done) return done.error();
      changes_.push_back({NameChange::Kind::kCreated, place.parent, place.name, node.id, 0});
      return true;
    }
    return false;
  }

  Result<std::vector<NameChange>> finish() {
    if (auto done = losses_.settle(); !done) return done.error();
    if (changes_.empty()) return std::move(changes_);
    if (auto done = edit_.touch_directory(directory_, 0); !done) return done.error();
    if (auto done = count_subdirectories(transaction_, directory_); !done) return done.error();
    return std::move(changes_);
  }

  Transaction& transaction_;
  NameEdit edit_;
  std::vector<NameChange> changes_;
  Losses losses_;
  const NodeId parent_;
  const std::string_view name_;
  Node directory_;
  NodeId base_ = 0;
  std::optional<KnownNode> local_;
};

}  // namespace

Result<std::vector<NameChange>> StoredPendingChanges::keep_both(NodeId parent, std::string_view name,
                                                                const ListedName* theirs,
                                                                std::string_view copy_name) {
  return changing([&](Transaction& transaction) -> Result<std::vector<NameChange>> {
    Decision decision(transaction, files_, parent, name);
    if (auto done = decision.load(copy_name); !done) return done.error();
    return decision.keep_both(theirs, copy_name);
  });
}

Result<std::vector<NameChange>> StoredPendingChanges::keep_ours(NodeId parent, std::string_view name,
                                                                const ListedName* theirs) {
  return changing([&](Transaction& transaction) -> Result<std::vector<NameChange>> {
    Decision decision(transaction, files_, parent, name);
    if (auto done = decision.load(name); !done) return done.error();
    return decision.keep_ours(theirs);
  });
}

Result<std::vector<NameChange>> StoredPendingChanges::take_theirs(NodeId parent, std::string_view name,
                                                                  const ListedName* theirs) {
  return changing([&](Transaction& transaction) -> Result<std::vector<NameChange>> {
    Decision decision(transaction, files_, parent, name);
    if (auto done = decision.load(name); !done) return done.error();
    return decision.take_theirs(theirs);
  });
}

}  // namespace rsyncfs
