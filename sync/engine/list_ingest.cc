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

// Of hard links in pages. Names of further ones are brought in like those of a directory that is listed by
// itself: what is stored stays linked, what is new stands alone until its directories are listed together.
constexpr size_t kMaxPageGroups = 200'000;

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
      unreadable_(session_->shown_root()),
      began_(session_->opened_at()) {
  outcome_.wanted = std::move(wanted);
  nodes_[""] = kRootNode;
  if (session_->spec().paged && session_->paged()) return;
  unreadable_.turn(session_->list(), session_->errors().texts, session_->errors().cut);
}

void ListIngest::start() {
  store_.post([self = shared_from_this()] { self->step(); });
}

void ListIngest::add_page(TreePage page) {
  const std::lock_guard lock(pages_mutex_);
  pages_.push_back(std::move(page));
}

void ListIngest::bring_in_pages() {
  {
    const std::lock_guard lock(pages_mutex_);
    if (stepping_ || (pages_.empty() && !ended_)) return;
    stepping_ = true;
  }
  store_.post([self = shared_from_this()] { self->step_pages(); });
}

void ListIngest::end_pages(bool cut_short) {
  {
    const std::lock_guard lock(pages_mutex_);
    ended_ = true;
    cut_short_ = cut_short;
  }
  bring_in_pages();
}

// False: there is none by now.
bool ListIngest::next_page() {
  if (page_) return true;
  const std::lock_guard lock(pages_mutex_);
  if (pages_.empty()) return false;
  page_ = std::move(pages_.front());
  pages_.pop_front();
  return true;
}

Result<void> ListIngest::learn_ids(const FileList& list) {
  if (list.user_names.empty() && list.group_names.empty()) return {};
  ids_.learn(list.user_names, list.group_names);
  return replica_.store_id_names(list.user_names, list.group_names);
}

void ListIngest::step() {
  if (!listing_) {
    listing_ = std::make_unique<Listing>(session_->list(), whole_tree_, with_xattrs_);
    if (const auto learned = learn_ids(session_->list()); !learned) return finish(learned.error());
  }
  const size_t total = whole_tree_ ? listing_->directories().size() : outcome_.wanted.size();
  const auto applied = in_slice([this, total] { return position_ < total; },
                                [this](Replica::Batch& batch) { return apply_next(batch); });
  if (!applied) return finish(applied.error());
  if (position_ == total) return finish(std::nullopt);
  store_.post([self = shared_from_this()] { self->step(); });
}

void ListIngest::step_pages() {
  // New names of ids are rare after the first pages, and need a transaction of their own.
  if (next_page()) {
    if (const auto learned = learn_ids(page_->page.list); !learned) return finish(learned.error());
    page_->page.list.user_names.clear();
    page_->page.list.group_names.clear();
  }
  uint64_t weight = 0;
  uint64_t entries = 0;
  const auto no_names_to_learn = [this] {
    return next_page() && page_->page.list.user_names.empty() && page_->page.list.group_names.empty();
  };
  const auto applied = in_slice(no_names_to_learn, [&](Replica::Batch& batch) {
    auto rows = apply_page(batch, *page_);
    weight += page_->weight;
    entries += page_->page.list.size();
    listing_.reset();
    page_.reset();
    return rows;
  });
  if (!applied) return finish(applied.error());
  outcome_.entries += entries;
  loop_.post([self = shared_from_this(), weight] {
    if (self->session_) self->session_->pages_done(weight);
  });
  {
    const std::lock_guard lock(pages_mutex_);
    const bool more = page_ || !pages_.empty();
    stepping_ = more || ended_;
    if (!stepping_) return;
    outcome_.cut_short = cut_short_;
    if (more) {
      store_.post([self = shared_from_this()] { self->step_pages(); });
      return;
    }
  }
  finish(std::nullopt);
}

// One transaction.
Result<void> ListIngest::in_slice(const std::function<bool()>& more,
                                  const std::function<Result<size_t>(Replica::Batch&)>& apply_one) {
  auto batch = replica_.begin();
  if (!batch) return batch.error();
  if (growth_user_.may_hold) (*batch)->hold_growths(growth_user_.may_hold);
  const auto started = Clock::now();
  size_t rows = 0;
  while (more() && rows < kSliceRows && Clock::now() - started < kSliceTime) {
    const auto applied = apply_one(**batch);
    if (!applied) return applied.error();
    rows += *applied;
    ++outcome_.directories;
  }
  if (auto committed = (*batch)->commit(); !committed) return committed;
  batch->reset();
  tell_changes();
  return {};
}

void ListIngest::tell_changes() {
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
}

Result<size_t> ListIngest::apply_next(Replica::Batch& batch) {
  const size_t position = position_++;
  if (!whole_tree_) return apply_wanted(batch, outcome_.wanted[position]);
  if (position == 0) {
    if (const auto root = apply_root(batch); !root) return root.error();
  }
  return apply_tree_directory(batch, listing_->directories()[position]);
}

Result<void> ListIngest::apply_root(Replica::Batch& batch) {
  ListedName root;
  if (!listing_->describe("", root)) return {};
  auto changes = batch.apply_attributes(kRootNode, root);
  if (!changes) return changes.error();
  report(std::move(*changes));
  return {};
}

Result<size_t> ListIngest::apply_page(Replica::Batch& batch, const TreePage& page) {
  began_ = page.began;
  unreadable_.turn(page.page.list, page.errors, page.errors_cut);
  listing_ = std::make_unique<Listing>(page.page.list, false, with_xattrs_);
  const std::string& directory = page.page.directory;
  if (directory.empty()) {
    if (const auto root = apply_root(batch); !root) return root.error();
  }
  auto applied = apply_tree_directory(batch, directory);
  // Its list comes once, and those of the directories in it are known to be to come.
  nodes_.erase(directory);
  return applied;
}

// Names of one inode in several pages. The source is not held still while they come.
void ListIngest::follow_groups(std::vector<ListedName>& names) {
  for (ListedName& listed : names) {
    if (listed.hlink_group == 0) continue;
    const FileVersion version{listed.attr.size, listed.attr.mtime_s, listed.attr.mtime_ns};
    const uint32_t type = listed.attr.mode & S_IFMT;
    auto found = page_groups_.find(listed.hlink_group);
    if (found == page_groups_.end()) {
      if (page_groups_.size() < kMaxPageGroups) {
        page_groups_.emplace(listed.hlink_group, Group{version, type, listed.hlink_group});
      } else {
        listed.hlink_group = 0;
      }
      continue;
    }
    Group& group = found->second;
    const NodeId node = groups_.node_of(group.group);
    const bool same = group.version == version && group.type == type &&
                      (node == 0 || !fences_.any_since(session_->opened_at()) || is_still(node, listed.attr));
    if (!same) group = {version, type, kFirstOwnGroup + own_groups_++};
    listed.hlink_group = group.group;
  }
}

// A push may have made another version of it since its name was met.
bool ListIngest::is_still(NodeId node, const NodeAttributes& attr) const {
  const auto base = replica_.pending().base_of(node);
  return base && base->present && one_version(base->attr, attr);
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
  const bool paged = session_->paged();
  if (paged) follow_groups(names);
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
  if (whole_tree_ && outdated_(node, began_)) {
    if (has_changes(node)) return skip_stale(node, path);
    keep_younger(node, names, kept);
  } else {
    take_younger(names);
  }
  // Names that were linked, moved or removed meanwhile are counted in one directory and not in the other.
  if (whole_tree_ && fences_.any_since(began_)) {
    for (ListedName& listed : names) {
      outcome_.partial = outcome_.partial || (listed.hlink_group != 0 && !paged);
      listed.attr.nlink = 0;
    }
  }
  std::vector<NodeId> nodes;
  auto changes = batch.apply_directory(node, names, complete, groups_, nodes);
  if (!changes) return changes.error();
  report(std::move(changes->changes));
  for (HeldGrowth& growth : changes->growths) {
    std::string at = path.empty() ? growth.listed.name : path + "/" + growth.listed.name;
    pending_growths_.push_back({std::move(growth), std::move(at), began_});
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
    if (fences_.stale_name(node, child.name, began_)) continue;
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
  {
    // What comes then is dropped with us.
    const std::lock_guard lock(pages_mutex_);
    stepping_ = true;
    pages_.clear();
  }
  // The session belongs to the loop: the last reference must be dropped there.
  loop_.post([self = shared_from_this(), changes = std::exchange(pending_changes_, {})]() mutable {
    if (!changes.empty()) self->changes_(std::move(changes));
    Finished finished = std::move(self->finished_);
    finished(std::move(self->outcome_));
    self->session_.reset();
  });
}

}  // namespace rsyncfs
