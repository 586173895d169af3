// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "sync/engine/base_view.h"
#include "sync/engine/push_jams.h"

namespace rsyncfs {

namespace {

constexpr size_t kPage = 512;
constexpr size_t kActions = 8;
// A batch of so many waits for nobody.
constexpr size_t kMostJoined = 512;
// What was changed so much later than now was changed before somebody set the clock back: it waits no longer.
constexpr int64_t kClockSlackMs = 10'000;

// Written aside and renamed over, or made aside and renamed over, by the server itself.
bool can_replace(uint32_t type, uint32_t occupant) {
  if (occupant == S_IFDIR || type == S_IFDIR) return false;
  return (type == S_IFREG) == (occupant == S_IFREG);
}

class Planner {
 public:
  Planner(const PendingChanges& pending, const PushRules& rules)
      : pending_(pending), rules_(rules), base_(pending), jams_(pending, base_) {}

  Result<PushPlan> run();

 private:
  struct Queue {
    std::vector<PushStep> steps;
    uint64_t bytes = 0;
    bool full = false;
  };
  // One name that is to lead to `node`, and what stands in its way.
  struct Arrival {
    const PendingName& name;
    NodeId node = 0;
    uint32_t type = 0;
    bool present = false;
    bool dirty = false;  // contents differ
    uint64_t size = 0;
    bool must_clear = false;  // the occupant goes first
  };

  Result<void> scan_names();
  Result<void> scan_nodes();
  Result<void> consider_name(const PendingName& name);
  Result<bool> consider_arrival(const PendingName& name);
  Result<void> arrive_new(const Arrival& arrival, const std::string& directory);
  Result<void> arrive_present(const Arrival& arrival);
  Result<void> arrive_directory(const Arrival& arrival);
  Result<void> consider_departure(const PendingName& name);
  Result<void> add_departures();
  void add_delete(PushStep step);
  Result<void> consider_node(const PendingNode& node);
  Result<void> consider_in_place(const PendingNode& node);
  Result<std::optional<Binding>> leaving_place(NodeId node, std::string_view name);
  Result<std::optional<Binding>> any_place(NodeId node, bool local_too);
  Result<PushStep> step_at(NodeId node, NodeId parent, std::string_view name);
  Result<void> set_from(PushStep& step, const Binding& from);
  Result<bool> add_other_names(PushStep& step);
  void add(PushAction action, PushStep step, uint64_t bytes = 0);
  void add_move(PushStep step);
  void will_look(const std::string& path);
  bool takes_moves(NodeId directory) const {
    return rules_.moves && (directory != kRootNode || rules_.root_takes_moves);
  }
  Result<bool> clear_other_names(const PushStep& step);
  bool due(int64_t at_ms);
  bool due_after(int64_t since_ms, int64_t delay_ms);
  bool clock_was_set_back(int64_t since_ms) const { return since_ms > rules_.now_ms + kClockSlackMs; }
  bool contents_due(int64_t since_ms, int64_t changed_ms);
  bool held(NodeId node);
  Result<void> mark_busy(NodeId directory);
  Queue& queue(PushAction action) { return queues_[static_cast<size_t>(action)]; }
  bool any_full() const;
  Result<PushPlan> choose();
  Result<void> break_jam(PushPlan& plan);

  const PendingChanges& pending_;
  const PushRules& rules_;
  BaseView base_;
  PushJams jams_;
  std::array<Queue, kActions> queues_;
  std::unordered_map<NodeId, std::string> planned_;   // directories that this plan creates, and their paths
  std::unordered_set<NodeId> touched_;                // nodes that have a step
  std::set<std::pair<NodeId, std::string>> claimed_;  // names that get contents of another node
  std::unordered_set<NodeId> busy_;                   // directories below which something is to be done
  std::vector<PendingNode> directories_;              // whose attributes differ
  std::set<std::pair<NodeId, std::string>> going_;    // names that are to be deleted
  std::vector<PushStep> departures_;                  // without what must make room at once
  int64_t since_ms_ = 0;                              // of the difference that is being looked at
  int64_t first_departure_ms_ = INT64_MAX;
  int64_t last_departure_ms_ = INT64_MIN;
  bool scanned_all_ = true;
  size_t waiting_ = 0;  // not due
  PushPlan plan_;
};

bool Planner::due(int64_t at_ms) {
  if (rules_.urgent || at_ms <= rules_.now_ms) return true;
  ++waiting_;
  plan_.next_due_ms = plan_.next_due_ms == 0 ? at_ms : std::min(plan_.next_due_ms, at_ms);
  return false;
}

bool Planner::due_after(int64_t since_ms, int64_t delay_ms) {
  return clock_was_set_back(since_ms) || due(since_ms + delay_ms);
}

bool Planner::contents_due(int64_t since_ms, int64_t changed_ms) {
  return clock_was_set_back(since_ms) ||
         due(std::min(changed_ms + rules_.writeback_ms, since_ms + rules_.longest_writeback_ms));
}

bool Planner::held(NodeId node) {
  if (node == 0 || rules_.hold == nullptr || !rules_.hold->held(node)) return false;
  ++plan_.held;
  return true;
}

void Planner::add(PushAction action, PushStep step, uint64_t bytes) {
  Queue& to = queue(action);
  const bool data = action == PushAction::kData;
  const size_t most = data ? rules_.max_steps : rules_.max_small_steps;
  if (to.full || to.steps.size() >= most ||
      (data && !to.steps.empty() && to.bytes + bytes > rules_.max_bytes)) {
    to.full = true;
    return;
  }
  touched_.insert(step.node);
  to.bytes += bytes;
  to.steps.push_back(std::move(step));
}

// A name may have more than one reason to go.
void Planner::add_delete(PushStep step) {
  if (going_.contains({step.parent, step.name})) return;
  std::pair<NodeId, std::string> name(step.parent, step.name);
  add(PushAction::kDelete, std::move(step));
  if (!queue(PushAction::kDelete).full) going_.insert(std::move(name));
}

// All of one batch go from one directory to another; the rest waits for the next plan.
void Planner::add_move(PushStep step) {
  const bool same_name = step.name == step.from_name && takes_moves(step.parent);
  const auto action = same_name ? PushAction::kMove : PushAction::kRenameDirectory;
  const auto& steps = queue(action).steps;
  if (!steps.empty() &&
      (!same_name || steps.front().parent != step.parent || steps.front().from_parent != step.from_parent))
    return;
  will_look(step.path);
  will_look(step.from_path);
  add(action, std::move(step));
}

void Planner::will_look(const std::string& path) {
  if (plan_.looks.size() < rules_.max_small_steps) plan_.looks.push_back(path);
}

Result<PushStep> Planner::step_at(NodeId node, NodeId parent, std::string_view name) {
  const auto directory = base_.directory_path(parent);
  if (!directory) return directory.error();
  PushStep step;
  step.node = node;
  step.parent = parent;
  step.name = name;
  step.since_ms = since_ms_;
  const auto planned = planned_.find(parent);
  step.path = BaseView::join(directory->value_or(planned == planned_.end() ? "" : planned->second), name);
  return step;
}

Result<void> Planner::set_from(PushStep& step, const Binding& from) {
  const auto directory = base_.directory_path(from.parent);
  if (!directory) return directory.error();
  if (!directory->has_value())
    return Error(Errc::kCorrupt, "a name of the source lies in no directory of it");
  step.from_parent = from.parent;
  step.from_name = from.name;
  step.from_path = BaseView::join(**directory, from.name);
  return {};
}

// A name of the node at the source that is not to stay, best the one called `name`.
Result<std::optional<Binding>> Planner::leaving_place(NodeId node, std::string_view name) {
  const auto places = pending_.base_names_of(node, kMaxNamesOfNode);
  if (!places) return places.error();
  for (const Binding& place : *places) {
    if (place.name != name) continue;
    const auto bound = pending_.local_binding(place.parent, place.name);
    if (!bound) return bound.error();
    if (*bound != node) return std::optional<Binding>(place);
  }
  return std::optional<Binding>();
}

// A name of the node at the source; `local_too`: that stays.
Result<std::optional<Binding>> Planner::any_place(NodeId node, bool local_too) {
  const auto places = pending_.base_names_of(node, kMaxNamesOfNode);
  if (!places) return places.error();
  for (const Binding& place : *places) {
    if (!local_too) return std::optional<Binding>(place);
    const auto bound = pending_.local_binding(place.parent, place.name);
    if (!bound) return bound.error();
    if (*bound == node) return std::optional<Binding>(place);
  }
  return std::optional<Binding>();
}

// False: one of them gets other contents in the same batch.
Result<bool> Planner::add_other_names(PushStep& step) {
  const auto places = pending_.base_names_of(step.node, kMaxNamesOfNode);
  if (!places) return places.error();
  for (const Binding& place : *places) {
    if (place.parent == step.parent && place.name == step.name) continue;
    if (claimed_.contains({place.parent, place.name})) return false;
    const auto directory = base_.directory_path(place.parent);
    if (!directory) return directory.error();
    if (!directory->has_value()) continue;
    step.other_names.push_back(place);
    step.other_paths.push_back(BaseView::join(**directory, place.name));
  }
  return true;
}

// Names that cannot be made to lead to new contents go before, and are linked again afterwards. True: there
// are such.
Result<bool> Planner::clear_other_names(const PushStep& step) {
  bool any = false;
  for (size_t i = 0; i < step.other_names.size(); ++i) {
    const Binding& other = step.other_names[i];
    if (takes_moves(other.parent)) continue;
    any = true;
    auto gone = step_at(step.node, other.parent, other.name);
    if (!gone) return gone.error();
    add_delete(std::move(*gone));
  }
  return any;
}

Result<void> Planner::mark_busy(NodeId directory) {
  while (directory != 0 && busy_.insert(directory).second) {
    const auto parent = base_.parent_of(directory);
    if (!parent) return parent.error();
    directory = *parent;
  }
  return {};
}

bool Planner::any_full() const {
  return std::any_of(queues_.begin(), queues_.end(), [](const Queue& queue) { return queue.full; });
}

Result<void> Planner::scan_names() {
  for (size_t skip = 0; skip < rules_.max_scanned + plan_.local_only.names; skip += kPage) {
    const auto page = pending_.names(skip, kPage);
    if (!page) return page.error();
    for (const PendingName& name : *page) {
      if (rules_.local_only != nullptr && rules_.local_only->has(name)) {
        ++plan_.local_only.names;
        continue;
      }
      if (auto done = consider_name(name); !done) return done;
    }
    if (page->size() < kPage) return {};
    if (any_full()) break;
  }
  scanned_all_ = false;
  return {};
}

Result<void> Planner::consider_name(const PendingName& name) {
  since_ms_ = name.since_ms;
  if (held(name.local) || (name.local == 0 && held(name.base))) return {};
  if (auto done = mark_busy(name.parent); !done) return done;
  bool depart = name.base != 0;
  if (name.local != 0) {
    const auto must_clear = consider_arrival(name);
    if (!must_clear) return must_clear.error();
    depart = *must_clear;
  }
  return depart ? consider_departure(name) : Result<void>();
}

// True: what stands at the name is to be deleted first.
Result<bool> Planner::consider_arrival(const PendingName& name) {
  const auto directory = base_.directory_path(name.parent);
  if (!directory) return directory.error();
  const auto planned = planned_.find(name.parent);
  if (!directory->has_value() && planned == planned_.end()) {
    jams_.add_homeless(name);
    return false;
  }
  const auto differing = pending_.node(name.local);
  if (!differing) return differing.error();
  const auto base = pending_.base_of(name.local);
  if (!base) return base.error();
  const NodeAttributes& attr = *differing ? (*differing)->local.attr : base->attr;
  const bool dirty = *differing && ((*differing)->differences & kBytesDiffer) != 0;
  Arrival arrival{name, name.local, attr.mode & S_IFMT, base->present, dirty, attr.size};
  if (name.base != 0) {
    const auto needed = base_.needed_at(name.base, name.parent, name.name);
    if (!needed) return needed.error();
    const auto occupant = base_.type_of(name.base);
    if (!occupant) return occupant.error();
    const bool moves_over = arrival.present && !takes_moves(name.parent);
    arrival.must_clear = moves_over || !can_replace(arrival.type, *occupant);
    if (*needed || arrival.must_clear) {
      jams_.add_occupied(name, *needed);
      return !*needed;
    }
  }
  if (touched_.contains(name.local)) return false;  // one step at a time
  const bool data = !arrival.present && arrival.type == S_IFREG;
  if (data ? !contents_due((*differing)->since_ms, (*differing)->changed_ms)
           : !due_after(name.since_ms, rules_.settle_ms))
    return false;
  Result<void> done;
  if (!arrival.present) {
    done = arrive_new(arrival, directory->has_value() ? **directory : planned->second);
  } else if (!directory->has_value()) {
    jams_.add_homeless(name);  // what it moves into must be there
  } else if (arrival.type == S_IFDIR) {
    done = arrive_directory(arrival);
  } else {
    done = arrive_present(arrival);
  }
  if (!done) return done.error();
  return false;
}

Result<void> Planner::arrive_new(const Arrival& arrival, const std::string& directory) {
  auto step = step_at(arrival.node, arrival.name.parent, arrival.name.name);
  if (!step) return step.error();
  step->occupant = arrival.name.base;
  if (step->occupant != 0) will_look(step->path);
  if (arrival.type == S_IFREG) {
    // Contents go where the directory is already.
    if (planned_.contains(arrival.name.parent)) return {};
    claimed_.emplace(arrival.name.parent, arrival.name.name);
    add(PushAction::kData, std::move(*step), arrival.size);
    return {};
  }
  if (arrival.type == S_IFDIR && !queue(PushAction::kCreate).full)
    planned_[arrival.node] = BaseView::join(directory, arrival.name.name);
  add(PushAction::kCreate, std::move(*step));
  if (queue(PushAction::kCreate).full) planned_.erase(arrival.node);
  return {};
}

Result<void> Planner::arrive_directory(const Arrival& arrival) {
  const auto from = any_place(arrival.node, false);
  if (!from) return from.error();
  if (!*from) return {};
  const auto inside = base_.inside(arrival.name.parent, arrival.node);
  if (!inside) return inside.error();
  if (*inside) {
    jams_.add_inside(arrival.name);
    return {};
  }
  auto step = step_at(arrival.node, arrival.name.parent, arrival.name.name);
  if (!step) return step.error();
  if (auto done = set_from(*step, **from); !done) return done;
  add_move(std::move(*step));
  return {};
}

// Anything but a directory that the source has under another name.
Result<void> Planner::arrive_present(const Arrival& arrival) {
  auto step = step_at(arrival.node, arrival.name.parent, arrival.name.name);
  if (!step) return step.error();
  step->occupant = arrival.name.base;
  const auto leaving = leaving_place(arrival.node, arrival.name.name);
  if (!leaving) return leaving.error();
  if (*leaving && (*leaving)->parent != arrival.name.parent && takes_moves(arrival.name.parent)) {
    if (auto done = set_from(*step, **leaving); !done) return done;
    add_move(std::move(*step));
    return {};
  }
  if (arrival.type != S_IFREG) {
    if (step->occupant != 0) will_look(step->path);
    add(PushAction::kCreate, std::move(*step));
    return {};
  }
  auto from = any_place(arrival.node, true);
  if (!from) return from.error();
  // Its contents come first: the server makes a new inode of them, to which the link would have to be made
  // again.
  if (*from && arrival.dirty) return {};
  if (!*from) from = any_place(arrival.node, false);
  if (!from) return from.error();
  if (!*from) return {};
  if (auto done = set_from(*step, **from); !done) return done;
  if (step->occupant == 0) {
    add(PushAction::kLink, std::move(*step));
  } else if (queue(PushAction::kReplace).steps.empty() ||
             queue(PushAction::kReplace).steps.front().parent == step->parent) {
    will_look(step->path);
    will_look(step->from_path);
    add(PushAction::kReplace, std::move(*step));
  }
  return {};
}

Result<void> Planner::consider_departure(const PendingName& name) {
  const auto directory = base_.directory_path(name.parent);
  if (!directory) return directory.error();
  if (!directory->has_value()) return {};
  const auto needed = base_.needed_at(name.base, name.parent, name.name);
  if (!needed) return needed.error();
  if (*needed || (name.local != 0 && held(name.base))) return {};
  const auto children = pending_.base_children(name.base, 1);
  if (!children) return children.error();
  auto step = step_at(name.base, name.parent, name.name);
  if (!step) return step.error();
  will_look(step->path);
  if (name.local != 0) {
    if (children->empty() && due_after(name.since_ms, rules_.settle_ms)) add_delete(std::move(*step));
    return {};
  }
  first_departure_ms_ = std::min(first_departure_ms_, name.since_ms);
  last_departure_ms_ = std::max(last_departure_ms_, name.since_ms);
  departures_.push_back(std::move(*step));
  return {};
}

// What is removed in one go goes in one batch, a tree as a whole. The deepest first: their parents may be
// empty then.
Result<void> Planner::add_departures() {
  if (departures_.empty()) return {};
  const int64_t longest = std::max(rules_.settle_ms, rules_.longest_settle_ms);
  if (!clock_was_set_back(first_departure_ms_) &&
      !due(std::min(last_departure_ms_ + rules_.settle_ms, first_departure_ms_ + longest)))
    return {};
  const auto depth = [](const PushStep& step) { return std::count(step.path.begin(), step.path.end(), '/'); };
  std::stable_sort(departures_.begin(), departures_.end(),
                   [&](const PushStep& a, const PushStep& b) { return depth(a) > depth(b); });
  for (PushStep& step : departures_) {
    if (queue(PushAction::kDelete).full) return {};
    const auto children = pending_.base_children(step.node, going_.size() + 1);
    if (!children) return children.error();
    const bool empties = std::all_of(children->begin(), children->end(), [this](const Binding& child) {
      return going_.contains({child.parent, child.name});
    });
    if (!empties) continue;
    add_delete(std::move(step));
  }
  return {};
}

Result<void> Planner::scan_nodes() {
  for (size_t skip = 0; skip < rules_.max_scanned + plan_.local_only.nodes; skip += kPage) {
    const auto page = pending_.nodes(skip, kPage);
    if (!page) return page.error();
    for (const PendingNode& node : *page) {
      if (rules_.local_only != nullptr && rules_.local_only->has(node.local)) {
        ++plan_.local_only.nodes;
        if ((node.differences & (kBytesDiffer | kAbsentAtSource)) != 0)
          plan_.local_only.bytes += node.local.attr.size;
        continue;
      }
      if (auto done = consider_node(node); !done) return done;
    }
    if (page->size() < kPage) return {};
    if (any_full()) break;
  }
  scanned_all_ = false;
  return {};
}

Result<void> Planner::consider_node(const PendingNode& node) {
  if (!node.base.present || touched_.contains(node.local.id) || held(node.local.id)) return {};
  if (S_ISDIR(node.local.attr.mode)) {
    directories_.push_back(node);
    return {};
  }
  return consider_in_place(node);
}

Result<void> Planner::consider_in_place(const PendingNode& node) {
  since_ms_ = node.since_ms;
  const bool data = (node.differences & kBytesDiffer) != 0;
  const bool root = node.local.id == kRootNode;
  PushStep step;
  if (!root) {
    const auto place = any_place(node.local.id, true);
    if (!place) return place.error();
    if (!*place) return {};  // it is moved first, or lost its last name
    if (data) {
      if (auto done = mark_busy((*place)->parent); !done) return done;
    }
    auto at = step_at(node.local.id, (*place)->parent, (*place)->name);
    if (!at) return at.error();
    step = std::move(*at);
  } else {
    step.node = kRootNode;
  }
  if (data) {
    if (!contents_due(node.since_ms, node.changed_ms)) return {};
    const auto separate = add_other_names(step);
    if (!separate) return separate.error();
    const auto clearing = clear_other_names(step);
    if (!clearing) return clearing.error();
    if (*clearing) return {};
    will_look(step.path);
    const auto& queued = queue(PushAction::kData).steps;
    // What has several names is a batch of its own.
    const bool alone = step.other_names.empty() || queued.empty();
    const bool joins = queued.empty() || queued.front().other_names.empty();
    if (*separate && alone && joins) add(PushAction::kData, std::move(step), node.local.attr.size);
  } else if (due_after(node.since_ms, rules_.settle_ms)) {
    if (!S_ISDIR(node.local.attr.mode)) will_look(step.path);
    add(PushAction::kAttributes, std::move(step));
  }
  return {};
}

Result<PushPlan> Planner::choose() {
  for (size_t action = 0; action < kActions; ++action) {
    Queue& found = queues_[action];
    if (found.steps.empty()) continue;
    plan_.batch = PushBatch{static_cast<PushAction>(action), std::move(found.steps), rules_.spare_name};
    return std::move(plan_);
  }
  plan_.blocked = jams_.size();
  if (waiting_ == 0 && !rules_.spare_name.empty()) {
    if (auto done = break_jam(plan_); !done) return done.error();
  }
  return std::move(plan_);
}

// What stands in the way of something that stands in its own way goes to a spare name.
Result<void> Planner::break_jam(PushPlan& plan) {
  const auto jam = jams_.find();
  if (!jam) return jam.error();
  if (!*jam) return {};
  const NodeId node = (*jam)->node;
  const auto from = any_place(node, false);
  if (!from) return from.error();
  if (!*from) return {};
  auto step = step_at(node, (*jam)->near, rules_.spare_name);
  if (!step) return step.error();
  if (auto done = set_from(*step, **from); !done) return done;
  const auto type = base_.type_of(node);
  if (!type) return type.error();
  const auto action = *type == S_IFDIR   ? PushAction::kRenameDirectory
                      : *type == S_IFREG ? PushAction::kLink
                                         : PushAction::kCreate;
  plan.batch = PushBatch{action, {}, {}};
  plan.batch->steps.push_back(std::move(*step));
  return {};
}

Result<PushPlan> Planner::run() {
  if (auto done = scan_names(); !done) return done.error();
  if (auto done = scan_nodes(); !done) return done.error();
  for (const PendingNode& directory : directories_) {
    // Its time would change again with every name below; its mode may forbid them.
    if (!scanned_all_ || busy_.contains(directory.local.id)) continue;
    if (auto done = consider_in_place(directory); !done) return done.error();
  }
  if (auto done = add_departures(); !done) return done.error();
  return choose();
}

}  // namespace

std::string_view push_action_name(PushAction action) {
  constexpr std::array<std::string_view, kActions> kNames = {"create",  "move", "rename directory", "link",
                                                             "replace", "data", "attributes",       "delete"};
  return kNames.at(static_cast<size_t>(action));
}

Result<PushPlan> plan_push(const PendingChanges& pending, const PushRules& rules) {
  auto plan = Planner(pending, rules).run();
  if (!plan || !plan->batch || plan->batch->steps.size() >= kMostJoined) return plan;
  const bool more = plan->next_due_ms != 0 && plan->next_due_ms <= rules.now_ms + rules.together_ms;
  if (!more) return plan;
  PushRules later = rules;
  later.now_ms += rules.together_ms;
  return Planner(pending, later).run();
}

}  // namespace rsyncfs
