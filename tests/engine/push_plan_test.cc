// SPDX-License-Identifier: GPL-3.0-or-later
#include "sync/engine/push_plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "sync/engine/spare_names.h"
#include "tests/engine/push_model.h"
#include "tests/support/seed.h"

namespace rsyncfs {
namespace {

// Carries out plans on the model source, as the engine does: what is found done already counts as done.
class Pushing {
 public:
  Pushing(PendingModel& pending, SourceModel& source) : pending_(pending), source_(source) {}

  // The next batch; false: there is none. After `patience` operations of the source the connection breaks.
  bool step(size_t patience = SIZE_MAX) {
    patience_ = SIZE_MAX;
    if (unfinished_) run(PushBatch(*unfinished_));
    patience_ = patience;
    PushRules rules;
    rules.urgent = true;
    rules.max_steps = max_steps;
    rules.max_small_steps = max_steps;
    rules.hold = hold;
    rules.root_takes_moves = source_.root_takes_moves;
    rules.spare_name = spare_name(next_spare_++);
    auto plan = plan_push(pending_, rules);
    EXPECT_TRUE(plan.ok());
    last = std::move(*plan);
    if (!last.batch) return false;
    ++batches;
    std::set<std::string> paths;
    for (const PushStep& step : last.batch->steps) {
      EXPECT_TRUE(paths.insert(step.path).second) << "given twice: " << step.path;
      log.push_back(std::string(push_action_name(last.batch->action)) + " " + step.from_path + " > " +
                    step.path);
    }
    run(*last.batch);
    check_nothing_lost();
    return true;
  }

  size_t max_steps = 256;
  const PushHold* hold = nullptr;
  size_t batches = 0;
  std::vector<std::string> log;
  PushPlan last;

 private:
  // Whether the source gets to do one more thing.
  bool alive() { return patience_ > 0 && patience_-- > 0; }

  // A step of several operations that broke off is finished before anything else is planned.
  void run(const PushBatch& batch) {
    for (const PushStep& step : batch.steps) {
      unfinished_ = PushBatch{batch.action, {step}, batch.spare};
      if (!one(batch.action, step)) {
        const bool several = batch.action == PushAction::kReplace ||
                             batch.action == PushAction::kRenameDirectory || !step.other_names.empty();
        if (!several) unfinished_.reset();
        return;
      }
      unfinished_.reset();
      check_nothing_lost();
    }
  }

  bool one(PushAction action, const PushStep& step) {
    switch (action) {
      case PushAction::kCreate:
        return create(step);
      case PushAction::kMove:
        return move(step);
      case PushAction::kRenameDirectory:
        return rename_directory(step);
      case PushAction::kLink:
        return alive() && source_.link(step.from_path, step.path) && gains(step);
      case PushAction::kReplace:
        return replace(step.from_path, step.path) && gains(step);
      case PushAction::kData:
        return data(step);
      case PushAction::kAttributes:
        return attributes(step);
      case PushAction::kDelete:
        return erase(step);
    }
    return false;
  }

  bool create(const PushStep& step) {
    const auto state = pending_.local_nodes.at(step.node);
    if (!alive()) return false;
    EXPECT_TRUE(source_.make(step.path, step.node, state.attr)) << step.path;
    return gains(step, state);
  }

  bool move(const PushStep& step) {
    if (!alive()) return false;
    if (source_.find(step.from_path)) {
      EXPECT_TRUE(source_.move(step.from_path, step.path)) << step.from_path << " to " << step.path;
    }
    return moved(step);
  }

  // Begun anew after a break: what has been moved already is not there any more.
  bool rename_directory(const PushStep& step) {
    const auto old = source_.find(step.from_path);
    if (!old) return moved(step);
    if (!alive() || !source_.make(step.path, step.node, old->attr)) return false;
    const auto children = old->children;
    for (const auto& [name, child] : children) {
      if (!alive()) return false;
      EXPECT_TRUE(source_.move(step.from_path + "/" + name, step.path + "/" + name));
    }
    if (!alive()) return false;
    EXPECT_TRUE(source_.remove(step.from_path));
    return moved(step);
  }

  bool replace(const std::string& from, const std::string& to) {
    const size_t slash = to.rfind('/') + 1;
    const std::string aside = to.substr(0, slash) + spare_name(0xffffffff);
    const std::string there = aside + "/" + to.substr(slash);
    if (!alive()) return false;
    if (source_.find(there)) source_.remove(there);  // of one that broke off
    source_.make(aside, 0, {.mode = S_IFDIR | 0700});
    if (!source_.link(from, there)) return false;
    if (!alive()) return false;
    EXPECT_TRUE(source_.move(there, to));
    if (!alive()) return false;  // what is left there is looked for when the connection is back
    source_.remove(aside);
    return true;
  }

  bool data(const PushStep& step) {
    const auto state = pending_.local_nodes.at(step.node);
    if (!alive()) return false;
    EXPECT_TRUE(source_.make(step.path, step.node, state.attr)) << step.path;
    for (const std::string& other : step.other_paths) {
      if (!replace(step.path, other)) return false;
    }
    return gains(step, state);
  }

  bool attributes(const PushStep& step) {
    const auto inode = source_.find(step.path);
    if (!inode || !alive()) return false;
    const auto state = pending_.local_nodes.at(step.node);
    inode->attr = state.attr;
    return acknowledge({{}, {base_node(step.node, state)}});
  }

  bool erase(const PushStep& step) {
    if (!alive()) return false;
    EXPECT_TRUE(source_.remove(step.path)) << step.path << " is not empty";
    return acknowledge({{{step.parent, step.name, 0}}, {}});
  }

  static BaseNode base_node(NodeId node, const PendingModel::State& state) {
    BaseNode out;
    out.node = node;
    out.present = true;
    out.attr = state.attr;
    return out;
  }

  bool gains(const PushStep& step) { return acknowledge({{{step.parent, step.name, step.node}}, {}}); }
  bool gains(const PushStep& step, const PendingModel::State& state) {
    return acknowledge({{{step.parent, step.name, step.node}}, {base_node(step.node, state)}});
  }
  bool moved(const PushStep& step) {
    return acknowledge({{{step.from_parent, step.from_name, 0}, {step.parent, step.name, step.node}}, {}});
  }

  // What has no name at the source any more is not there.
  bool acknowledge(Acknowledged news) {
    std::set<NodeId> before;
    for (const auto& [name, node] : pending_.base) before.insert(node);
    EXPECT_TRUE(pending_.acknowledge(news).ok());
    for (const auto& [name, node] : pending_.base) before.erase(node);
    for (const NodeId node : before) pending_.base_nodes.erase(node);
    return true;
  }

  // Whatever is not to be sent again must be somewhere.
  void check_nothing_lost() {
    for (const auto& [name, node] : pending_.local) {
      const auto base = pending_.base_nodes.find(node);
      if (base == pending_.base_nodes.end() || !S_ISREG(base->second.attr.mode)) continue;
      if (base->second.attr.size != pending_.local_nodes.at(node).attr.size) continue;
      EXPECT_TRUE(source_.holds(node, base->second.attr.size))
          << "the source lost " << name.second << " by " << log.back();
    }
  }

  PendingModel& pending_;
  SourceModel& source_;
  size_t patience_ = 0;
  std::optional<PushBatch> unfinished_;
  uint32_t next_spare_ = 1;
};

// One inode for one node, everywhere.
void expect_same(const PendingModel& pending, const SourceModel& source) {
  std::map<const SourceModel::Inode*, NodeId> seen;
  size_t names = 0;
  std::function<void(const SourceModel::Inode&, NodeId)> compare = [&](const auto& inode, NodeId node) {
    EXPECT_EQ(seen.emplace(&inode, node).first->second, node);
    EXPECT_EQ(inode.attr, pending.local_nodes.at(node).attr);
    for (const auto& [name, child] : inode.children) {
      ++names;
      const NodeId local = *pending.local_binding(node, name);
      ASSERT_NE(local, 0U) << name << " should not be there";
      if (S_ISREG(child->attr.mode)) {
        EXPECT_EQ(child->made_of, local);
      }
      compare(*child, local);
    }
  };
  compare(*source.root(), kRootNode);
  EXPECT_EQ(names, pending.local.size());
}

class PushPlanTest : public ::testing::Test {
 protected:
  NodeId file(NodeId parent, const std::string& name) { return pending_.make(parent, name, S_IFREG); }
  NodeId directory(NodeId parent, const std::string& name) { return pending_.make(parent, name, S_IFDIR); }
  void rename(NodeId parent, const std::string& name, NodeId new_parent, const std::string& new_name) {
    const NodeId node = pending_.local.at({parent, name});
    pending_.local.erase({parent, name});
    pending_.local[{new_parent, new_name}] = node;
  }
  void push_all(size_t most = 100) {
    for (size_t i = 0; pushing_.step(); ++i) ASSERT_LT(i, most);
    EXPECT_EQ(pending_.local, pending_.base);
    expect_same(pending_, source_);
  }
  std::vector<std::string> pushed_now() {
    pushing_.log.clear();
    push_all();
    return pushing_.log;
  }

  PendingModel pending_;
  SourceModel source_;
  Pushing pushing_{pending_, source_};
};

using Log = std::vector<std::string>;

TEST_F(PushPlanTest, NothingToDoIsNoBatch) {
  EXPECT_FALSE(pushing_.step());
  EXPECT_EQ(pushing_.last.next_due_ms, 0);
}

TEST_F(PushPlanTest, DirectoriesComeBeforeWhatIsInThem) {
  const NodeId d = directory(kRootNode, "d");
  const NodeId e = directory(d, "e");
  file(e, "f");
  EXPECT_EQ(pushed_now(), (Log{"create  > d", "create  > d/e", "data  > d/e/f"}));
}

TEST_F(PushPlanTest, WhatCameAndWentCostsNothing) {
  const NodeId f = file(kRootNode, "f");
  pending_.local.erase({kRootNode, "f"});
  pending_.local_nodes.erase(f);
  EXPECT_EQ(pushed_now(), Log{});
}

TEST_F(PushPlanTest, ASaveOverAFileIsOneTransferOverIt) {
  file(kRootNode, "f");
  push_all();
  file(kRootNode, "f");
  ASSERT_TRUE(pushing_.step());
  EXPECT_EQ(pushing_.last.batch->action, PushAction::kData);
  EXPECT_NE(pushing_.last.batch->steps.at(0).occupant, 0U);
  EXPECT_FALSE(pushing_.step());
}

TEST_F(PushPlanTest, AMoveWithItsNameIsOneStep) {
  const NodeId d = directory(kRootNode, "d");
  directory(d, "e");
  const NodeId to = directory(kRootNode, "to");
  push_all();
  rename(d, "e", to, "e");
  EXPECT_EQ(pushed_now(), (Log{"move d/e > to/e"}));
}

TEST_F(PushPlanTest, AFileWithAnotherNameIsLinkedThenLosesTheOldOne) {
  file(kRootNode, "old");
  push_all();
  rename(kRootNode, "old", kRootNode, "new");
  EXPECT_EQ(pushed_now(), (Log{"link old > new", "delete  > old"}));
}

TEST_F(PushPlanTest, ADirectoryWithAnotherNameIsOneStep) {
  const NodeId d = directory(kRootNode, "old");
  file(d, "a");
  push_all();
  rename(kRootNode, "old", kRootNode, "new");
  EXPECT_EQ(pushed_now(), (Log{"rename directory old > new"}));
}

TEST_F(PushPlanTest, ARenameOverAFileNeverLacksTheName) {
  file(kRootNode, "a");
  file(kRootNode, "b");
  push_all();
  rename(kRootNode, "a", kRootNode, "b");
  EXPECT_EQ(pushed_now(), (Log{"replace a > b", "delete  > a"}));
}

TEST_F(PushPlanTest, ExchangedFilesGoThroughASpareName) {
  const NodeId a = file(kRootNode, "a");
  const NodeId b = file(kRootNode, "b");
  push_all();
  pending_.local[{kRootNode, "a"}] = b;
  pending_.local[{kRootNode, "b"}] = a;
  const Log log = pushed_now();
  ASSERT_EQ(log.size(), 4U);
  EXPECT_TRUE(log[0].starts_with("link a > .rsyncfs-")) << log[0];
  EXPECT_EQ(log[1], "replace b > a");
}

TEST_F(PushPlanTest, ADirectoryMovedIntoItsOwnChild) {
  const NodeId outer = directory(kRootNode, "outer");
  const NodeId inner = directory(outer, "inner");
  push_all();
  rename(outer, "inner", kRootNode, "inner");
  rename(kRootNode, "outer", inner, "outer");
  EXPECT_EQ(pushed_now(), (Log{"move outer/inner > inner", "move outer > inner/outer"}));
}

TEST_F(PushPlanTest, ADirectoryThatChangesPlacesWithItsChild) {
  const NodeId outer = directory(kRootNode, "x");
  const NodeId inner = directory(outer, "y");
  push_all();
  pending_.local = {{{kRootNode, "x"}, inner}, {{inner, "y"}, outer}};
  push_all();
}

// What takes the place of a removed directory waits for its child, which waits for that very node's old name.
TEST_F(PushPlanTest, ARingThroughADirectoryThatGoes) {
  const NodeId d = directory(kRootNode, "d");
  const NodeId c = file(d, "c");
  const NodeId e = file(kRootNode, "e");
  push_all();
  pending_.local = {{{kRootNode, "d"}, e}, {{kRootNode, "e"}, c}};
  push_all();
}

TEST_F(PushPlanTest, ATypeChangeWaitsForWhatIsStillNeeded) {
  const NodeId d = directory(kRootNode, "d");
  file(d, "kept");
  push_all();
  rename(d, "kept", kRootNode, "kept");
  pending_.local.erase({kRootNode, "d"});
  file(kRootNode, "d");
  EXPECT_EQ(pushed_now(), (Log{"move d/kept > kept", "delete  > d", "data  > d"}));
}

TEST_F(PushPlanTest, EveryNameOfAFileGetsItsNewContents) {
  const NodeId f = file(kRootNode, "a");
  pending_.local[{kRootNode, "b"}] = f;
  EXPECT_EQ(pushed_now(), (Log{"data  > a", "link a > b"}));
  ++pending_.local_nodes[f].attr.size;
  EXPECT_EQ(pushed_now(), (Log{"data  > a"}));
}

TEST_F(PushPlanTest, ATreeGoesFromTheBottomUp) {
  const NodeId a = directory(kRootNode, "a");
  const NodeId b = directory(a, "b");
  file(b, "f");
  push_all();
  pending_.local.clear();
  const size_t before = pushing_.batches;
  EXPECT_EQ(pushed_now(), (Log{"delete  > a/b/f", "delete  > a/b", "delete  > a"}));
  EXPECT_EQ(pushing_.batches, before + 1);
}

// Something in it goes elsewhere first.
TEST_F(PushPlanTest, ADirectoryStaysUntilAllOfItMayGo) {
  const NodeId a = directory(kRootNode, "a");
  file(a, "f");
  file(a, "kept");
  push_all();
  const NodeId kept = pending_.local.at({a, "kept"});
  pending_.local.clear();
  pending_.local[{kRootNode, "other"}] = kept;
  EXPECT_EQ(pushed_now(), (Log{"link a/kept > other", "delete  > a/f", "delete  > a/kept", "delete  > a"}));
}

TEST_F(PushPlanTest, ADirectorysTimeComesAfterWhatIsInIt) {
  const NodeId d = directory(kRootNode, "d");
  push_all();
  const NodeId deep = directory(d, "e");
  file(deep, "f");
  pending_.local_nodes[d].attr.mtime_s = 77;
  EXPECT_EQ(pushed_now(), (Log{"create  > d/e", "data  > d/e/f", "attributes  > d"}));
}

class HoldOne : public PushHold {
 public:
  explicit HoldOne(NodeId node) : node_(node) {}
  bool held(NodeId node) const override { return node == node_; }

 private:
  NodeId node_;
};

TEST_F(PushPlanTest, WhatIsHeldHoldsNobodyElseUp) {
  const NodeId bad = file(kRootNode, "bad");
  file(kRootNode, "good");
  const HoldOne hold(bad);
  pushing_.hold = &hold;
  ASSERT_TRUE(pushing_.step());
  EXPECT_EQ(pushing_.log, (Log{"data  > good"}));
  EXPECT_FALSE(pushing_.step());
  EXPECT_EQ(pushing_.last.held, 1U);
}

TEST_F(PushPlanTest, ABatchHasItsLimits) {
  for (int i = 0; i < 10; ++i) file(kRootNode, "f" + std::to_string(i));
  PushRules rules;
  rules.urgent = true;
  rules.max_steps = 4;
  auto plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok() && plan->batch);
  EXPECT_EQ(plan->batch->steps.size(), 4U);
  rules.max_steps = 256;
  rules.max_bytes = 3;  // each has one
  plan = plan_push(pending_, rules);
  ASSERT_TRUE(plan.ok() && plan->batch);
  EXPECT_EQ(plan->batch->steps.size(), 3U);
}

// What users do to the tree, at random; whatever is not allowed is left.
class Users {
 public:
  Users(PendingModel& pending, std::mt19937_64& random) : pending_(pending), random_(random) {}

  void act() {
    const NodeId parent = pick_directory();
    const std::string name = pick_name();
    const auto at = pending_.local.find({parent, name});
    const bool taken = at != pending_.local.end();
    switch (random_() % 10) {
      case 0:
      case 1:
        if (!taken) pending_.make(parent, name, S_IFREG);
        return;
      case 2:
        if (!taken) pending_.make(parent, name, S_IFDIR);
        return;
      case 3:
        if (!taken) pending_.make(parent, name, S_IFLNK);
        return;
      case 4:
        if (taken) remove(at);
        return;
      case 5:
        if (taken) change(at->second);
        return;
      case 6:
        if (!taken) link(parent, name);
        return;
      case 7:
        exchange({parent, name});
        return;
      default:
        rename({parent, name});
    }
  }

 private:
  NodeId pick_directory() {
    const auto all = pending_.directories();
    return all[random_() % all.size()];
  }
  std::string pick_name() { return std::string(1, static_cast<char>('a' + random_() % 4)); }
  std::optional<PendingModel::Name> pick_existing() {
    if (pending_.local.empty()) return std::nullopt;
    auto it = pending_.local.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random_() % pending_.local.size()));
    return it->first;
  }
  void remove(PendingModel::Names::iterator at) {
    if (pending_.is_directory(at->second) && !pending_.is_empty(at->second)) return;
    pending_.local.erase(at);
  }
  void change(NodeId node) {
    auto& attr = pending_.local_nodes[node].attr;
    if (S_ISREG(attr.mode) && random_() % 2 == 0) {
      ++attr.size;
    } else if (S_ISDIR(attr.mode) && random_() % 2 == 0) {
      ++attr.mtime_s;
    } else if (!S_ISLNK(attr.mode)) {
      attr.mode ^= 0111;
    }
  }
  void link(NodeId parent, const std::string& name) {
    const auto from = pick_existing();
    if (!from) return;
    const NodeId node = pending_.local.at(*from);
    if (S_ISREG(pending_.local_nodes.at(node).attr.mode)) pending_.local[{parent, name}] = node;
  }
  bool may_go_to(NodeId node, NodeId parent) const {
    return !pending_.is_directory(node) || !pending_.contains(node, parent);
  }
  void exchange(const PendingModel::Name& one) {
    const auto two = pick_existing();
    if (!two || !pending_.local.contains(one)) return;
    const NodeId a = pending_.local[one];
    const NodeId b = pending_.local[*two];
    if (!may_go_to(a, two->first) || !may_go_to(b, one.first)) return;
    pending_.local[one] = b;
    pending_.local[*two] = a;
  }
  void rename(const PendingModel::Name& to) {
    const auto from = pick_existing();
    if (!from || *from == to) return;
    const NodeId node = pending_.local[*from];
    const auto over = pending_.local.find(to);
    if (!may_go_to(node, to.first)) return;
    if (over != pending_.local.end()) {
      if (over->second == node || pending_.is_directory(node) != pending_.is_directory(over->second)) return;
      if (pending_.is_directory(node) && !pending_.is_empty(over->second)) return;
    }
    pending_.local[to] = node;
    pending_.local.erase(*from);
  }

  PendingModel& pending_;
  std::mt19937_64& random_;
};

class RandomPushTest : public ::testing::TestWithParam<std::tuple<bool, bool>> {};

// Whatever users do while it is being pushed, in batches of any size and with or without breaks in the
// middle: it ends with the source equal, and until then nothing is lost.
TEST_P(RandomPushTest, Converges) {
  const uint64_t seed = support::test_seed();
  const auto [breaks, root_takes_moves] = GetParam();
  constexpr int kTrees = 400;
  size_t spares = 0;
  for (int tree = 0; tree < kTrees; ++tree) {
    std::mt19937_64 random(seed + static_cast<uint64_t>(tree));
    PendingModel pending;
    SourceModel source;
    source.root_takes_moves = root_takes_moves;
    Pushing pushing(pending, source);
    Users users(pending, random);
    pushing.max_steps = 1 + random() % 8;
    for (int round = 0; round < 6; ++round) {
      for (uint64_t i = random() % 25; i > 0; --i) users.act();
      for (uint64_t i = random() % 6; i > 0; --i) pushing.step(breaks ? random() % 6 : SIZE_MAX);
    }
    const size_t left = pending.names(0, SIZE_MAX)->size() + pending.nodes(0, SIZE_MAX)->size();
    pushing.batches = 0;
    while (pushing.step()) ASSERT_LE(pushing.batches, 5 * left + 5) << "tree " << tree;
    ASSERT_EQ(pending.local, pending.base) << "tree " << tree << ", blocked " << pushing.last.blocked;
    expect_same(pending, source);
    ASSERT_FALSE(::testing::Test::HasFailure()) << "tree " << tree;
    spares += static_cast<size_t>(std::count_if(pushing.log.begin(), pushing.log.end(), [](const auto& line) {
      return line.find(".rsyncfs-") != std::string::npos;
    }));
  }
  EXPECT_GT(spares, 0U) << "no ring was among them";
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutBreaks, RandomPushTest,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool()));

}  // namespace
}  // namespace rsyncfs
