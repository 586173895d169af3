// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/list_ingest.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "sync/engine/spare_names.h"

namespace rsyncfs {

namespace {

// A slice holds the Replica's writer for about this many rows, or this long, whichever comes first.
constexpr size_t kSliceRows = 2000;
constexpr std::chrono::milliseconds kSliceTime{4};

// Groups that a list does not have: its own are numbered from 1 by entry.
constexpr uint32_t kFirstOwnGroup = uint32_t{1} << 31;

bool one_version(const NodeAttributes& a, const NodeAttributes& b) {
  if ((a.mode & S_IFMT) != (b.mode & S_IFMT)) return false;
  return S_ISDIR(a.mode) || (a.size == b.size && a.mtime_s == b.mtime_s && a.mtime_ns == b.mtime_ns);
}

Error gone() {
  return Error(Errc::kVanished, "the directory is gone from the source");
}

// A list that was brought in meanwhile has taken the directory away. That concerns no other directory.
bool is_gone(const Result<size_t>& applied) {
  return !applied && applied.error().code() == Errc::kNotFound;
}

}  // namespace

ListIngest::ListIngest(Loop& loop, Strand& store, Replica& replica, IdMap& ids,
                       std::shared_ptr<RemoteSession> session, bool with_xattrs,
                       std::vector<WantedDirectory> wanted, Outdated outdated, const PushFences& fences,
                       Changes changes, Finished finished)
    : loop_(loop),
      store_(store),
      replica_(replica),
      ids_(ids),
      session_(std::move(session)),
      with_xattrs_(with_xattrs),
      whole_tree_(wanted.empty()),
      outdated_(std::move(outdated)),
      fences_(fences),
      changes_(std::move(changes)),
      finished_(std::move(finished)),
      unreadable_(session_->list(), session_->errors(), session_->shown_root()) {
  outcome_.wanted = std::move(wanted);
}

void ListIngest::start() {
  store_.post([self = shared_from_this()] { self->step(); });
}

void ListIngest::prepare() {
  listing_ = std::make_unique<Listing>(session_->list(), whole_tree_, with_xattrs_);
  nodes_[""] = kRootNode;
}

Result<void> ListIngest::learn_ids() {
  const FileList& list = session_->list();
  if (list.user_names.empty() && list.group_names.empty()) return {};
  ids_.learn(list.user_names, list.group_names);
  return replica_.store_id_names(list.user_names, list.group_names);
}

void ListIngest::step() {
  if (!listing_) {
    prepare();
    if (const auto learned = learn_ids(); !learned) {
      finish(learned.error());
      return;
    }
  }
  const size_t total = whole_tree_ ? listing_->directories().size() : outcome_.wanted.size();
  auto batch = replica_.begin();
  if (!batch) {
    finish(batch.error());
    return;
  }
  if (growth_user_.may_hold) (*batch)->hold_growths(growth_user_.may_hold);
  const auto started = Clock::now();
  size_t rows = 0;
  if (whole_tree_ && position_ == 0) {
    ListedName root;
    if (listing_->describe("", root)) {
      auto changes = (*batch)->apply_attributes(kRootNode, root);
      if (!changes) {
        finish(changes.error());
        return;
      }
      report(std::move(*changes));
    }
  }
  while (position_ < total && rows < kSliceRows && Clock::now() - started < kSliceTime) {
    Result<size_t> applied = whole_tree_ ? apply_tree_directory(**batch, listing_->directories()[position_])
                                         : apply_wanted(**batch, outcome_.wanted[position_]);
    if (!applied) {
      finish(applied.error());
      return;
    }
    rows += *applied;
    ++position_;
    ++outcome_.directories;
  }
  if (const auto committed = (*batch)->commit(); !committed) {
    finish(committed.error());
    return;
  }
  batch->reset();
  if (!pending_changes_.empty()) {
    loop_.post([self = shared_from_this(), changes = std::exchange(pending_changes_, {})]() mutable {
      self->changes_(std::move(changes));
    });
  }
  if (!pending_growths_.empty()) {
    loop_.post([self = shared_from_this(), growths = std::exchange(pending_growths_, {})]() mutable {
      self->growth_user_.listed(std::move(growths));
    });
  }
  if (position_ < total) {
    store_.post([self = shared_from_this()] { self->step(); });
  } else {
    finish(std::nullopt);
  }
}

Result<size_t> ListIngest::apply_tree_directory(Replica::Batch& batch, const std::string& path) {
  const auto found = nodes_.find(path);
  // Its parent was in doubt or is no directory any more: the next list will tell.
  if (found == nodes_.end()) return size_t{0};
  auto applied = apply(batch, found->second, path);
  if (is_gone(applied)) return size_t{0};
  return applied;
}

Result<size_t> ListIngest::apply_wanted(Replica::Batch& batch, WantedDirectory& wanted) {
  wanted.stale = stale(wanted.node) || !is_at(wanted);
  if (wanted.stale) return size_t{1};
  auto applied = apply_itself(batch, wanted);
  if (!is_gone(applied)) return applied;
  wanted.failure = gone();
  return size_t{1};
}

Result<size_t> ListIngest::apply_itself(Replica::Batch& batch, WantedDirectory& wanted) {
  auto doubt = unreadable_.doubt(wanted.path);
  ListedName self;
  if (!listing_->describe(wanted.path, self)) {
    wanted.failure = doubt ? std::move(doubt) : gone();
    return size_t{1};
  }
  if (!S_ISDIR(self.attr.mode)) {
    wanted.failure = Error(Errc::kVanished, "it is no directory on the source any more");
    return size_t{1};
  }
  auto changes = batch.apply_attributes(wanted.node, self);
  if (!changes) return changes.error();
  report(std::move(*changes));
  // Some names are better than an error, none may be a lie.
  if (unreadable_.any() && listing_->names(wanted.path).empty()) {
    wanted.failure = doubt ? doubt : unreadable_.any();
    return size_t{1};
  }
  return apply(batch, wanted.node, wanted.path);
}

// Names that may be there though the list lacks them stay.
Result<size_t> ListIngest::apply(Replica::Batch& batch, NodeId node, const std::string& path) {
  if (whole_tree_ && stale(node)) return skip_stale(node, path);
  std::vector<ListedName> names = listing_->names(path);
  hide_spare_names(node, names);
  const bool complete = !unreadable_.doubt(path).has_value();
  if (node == kRootNode && names.empty() && complete && !believe_emptied_ && has_names(node)) {
    const auto totals = replica_.statistics();
    const uint64_t ours = replica_.pending().summary().nodes;  // what was made here was never there
    outcome_.emptied = totals && totals->nodes > kManyNodes + ours;
    if (outcome_.emptied) return size_t{1};
  }
  if (names.empty() && unreadable_.any()) {
    if (complete && has_names(node)) outcome_.unsettled.push_back({node, path, std::nullopt});
    return size_t{1};
  }
  std::vector<std::string> kept;
  if (whole_tree_ && outdated_(node)) {
    if (has_changes(node)) return skip_stale(node, path);
    keep_younger(node, names, kept);
  } else {
    take_younger(names);
  }
  // Names that were linked, moved or removed meanwhile are counted in one directory and not in the other.
  if (whole_tree_ && fences_.any_since(session_->opened_at())) {
    for (ListedName& listed : names) {
      outcome_.partial = outcome_.partial || listed.hlink_group != 0;
      listed.attr.nlink = 0;
    }
  }
  std::vector<NodeId> nodes;
  auto changes = batch.apply_directory(node, names, complete, groups_, nodes);
  if (!changes) return changes.error();
  report(std::move(changes->changes));
  for (HeldGrowth& growth : changes->growths) {
    std::string at = path.empty() ? growth.listed.name : path + "/" + growth.listed.name;
    pending_growths_.push_back({std::move(growth), std::move(at), session_->opened_at()});
  }
  for (Collision& collision : changes->collisions) {
    std::string at = path.empty() ? collision.name : path + "/" + collision.name;
    outcome_.collisions.push_back(
        {collision.parent, std::move(collision.name), std::move(at), std::move(collision.theirs)});
  }
  if (whole_tree_) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (!S_ISDIR(names[i].attr.mode) || nodes[i] == 0) continue;
      std::string child = path;
      if (!child.empty()) child += '/';
      child += names[i].name;
      nodes_[std::move(child)] = nodes[i];
    }
  }
  return names.size() + 1;
}

// Only what is below it, and was there then, is brought in; the directory itself has to be listed again.
Result<size_t> ListIngest::skip_stale(NodeId node, const std::string& path) {
  outcome_.unsettled.push_back({node, path, std::nullopt});
  outcome_.partial = true;
  const auto children = replica_.pending().base_children(node, kMaxListEntries);
  if (!children) return children.error();
  for (const Binding& child : *children) {
    const auto base = replica_.pending().base_of(child.node);
    if (!base || !S_ISDIR(base->attr.mode)) continue;
    if (fences_.stale_name(node, child.name, session_->opened_at())) continue;
    nodes_[path.empty() ? child.name : path + "/" + child.name] = child.node;
  }
  return children->size() + 1;
}

// What a push needs there for a while.
void ListIngest::hide_spare_names(NodeId node, std::vector<ListedName>& names) const {
  std::erase_if(names, [&](const ListedName& listed) {
    if (!is_spare_name(listed.name)) return false;
    const auto known = replica_.pending().base_binding(node, listed.name);
    return known && *known == 0;
  });
}

// Where the list was asked for it: a push may have moved it before the list was made.
bool ListIngest::is_at(const WantedDirectory& wanted) const {
  const auto place = replica_.pending().remote_place(wanted.node);
  return place ? place->path == wanted.path : place.error().code() == Errc::kNotFound;
}

// Users changed something in it that is not at the source yet.
bool ListIngest::has_changes(NodeId node) const {
  const PendingSummary pending = replica_.pending().summary();
  return pending.names > 0 || pending.nodes > 0 || !replica_.node(node);
}

// At the source, as far as is known.
bool ListIngest::has_names(NodeId node) const {
  const auto first = replica_.pending().base_children(node, 1);
  return first && !first->empty();
}

// The directory was listed by itself after this list began: what that showed is younger.
void ListIngest::keep_younger(NodeId node, std::vector<ListedName>& names,
                              std::vector<std::string>& kept_texts) {
  std::vector<std::pair<std::string, Node>> stored;
  const auto listed = replica_.list(
      node, [&](std::string_view name, const Node& child) { stored.emplace_back(std::string(name), child); });
  if (!listed) return;
  kept_texts.reserve(stored.size() * 2);
  std::vector<ListedName> merged;
  merged.reserve(stored.size());
  for (auto& [name, child] : stored) {
    const auto found = std::lower_bound(names.begin(), names.end(), name,
                                        [](const ListedName& a, const std::string& b) { return a.name < b; });
    const bool both = found != names.end() && found->name == name && one_version(found->attr, child.attr);
    ListedName& keep = merged.emplace_back();
    kept_texts.push_back(std::move(name));
    keep.name = kept_texts.back();
    keep.attr = child.attr;
    keep.xattrs_known = false;
    if (S_ISLNK(child.attr.mode)) {
      auto target = replica_.link_target(child.id);
      kept_texts.push_back(target ? std::move(*target) : std::string());
      keep.link_target = kept_texts.back();
    }
    join_group(keep, child, both ? &*found : nullptr);
  }
  names = std::move(merged);
}

// Hard-link groups and link counts are what one directory alone does not show. `listed`: the same version
// here.
void ListIngest::join_group(ListedName& keep, const Node& child, const ListedName* listed) {
  keep.attr.nlink = listed != nullptr ? listed->attr.nlink : 0;
  if (S_ISDIR(child.attr.mode)) return;
  if (listed != nullptr && listed->hlink_group != 0) {
    keep.hlink_group = listed->hlink_group;
    younger_[keep.hlink_group] = child.attr;
  } else if (child.attr.nlink > 1) {
    // This list does not know its other names: they stay together.
    keep.hlink_group = groups_.group_of(child.id);
    if (keep.hlink_group != 0) return;
    keep.hlink_group = kFirstOwnGroup + own_groups_++;
    groups_.set(keep.hlink_group, child.id);
  }
}

// Other names of inodes of which a younger list is known.
void ListIngest::take_younger(std::vector<ListedName>& names) const {
  if (younger_.empty()) return;
  for (ListedName& listed : names) {
    const auto found = younger_.find(listed.hlink_group);
    if (found == younger_.end()) continue;
    const uint32_t nlink = std::exchange(listed.attr, found->second).nlink;
    listed.attr.nlink = nlink;
    listed.xattrs_known = false;
  }
}

void ListIngest::report(std::vector<NameChange> changes) {
  pending_changes_.insert(pending_changes_.end(), std::make_move_iterator(changes.begin()),
                          std::make_move_iterator(changes.end()));
}

void ListIngest::finish(std::optional<Error> failure) {
  outcome_.failure = std::move(failure);
  listing_.reset();
  // The session belongs to the loop: the last reference must be dropped there.
  loop_.post([self = shared_from_this(), changes = std::exchange(pending_changes_, {})]() mutable {
    if (!changes.empty()) self->changes_(std::move(changes));
    Finished finished = std::move(self->finished_);
    finished(std::move(self->outcome_));
    self->session_.reset();
  });
}

}  // namespace rsyncfs
